/** The policy's public face: the choice of a variant, its rules and its reasons. */
export { type Choice, choose, type Closeness, type Rule, RULES, type Terms } from "./choose.ts";
export { type Exposure, exposure } from "./exposure.ts";
export { type FittedConstants, fittedRule, fittedThreshold, PRINTED, REFITTED } from "./fitted.ts";
export { type MeasuredPoint, type Refit, refit } from "./refit.ts";
export { type Sent, sentBytes } from "./sent.ts";
export { checkSetting, type Elements, elementsOf, missRate, type Setting } from "./setting.ts";
export { hiddenKv, hiddenQ, smallerQueries, smallerQueriesAll2All } from "./thresholds.ts";
