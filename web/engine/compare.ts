/** The page's door to the check of somebody's result, and to layouts. */
export { InputError, NoAdapterError } from "../../engine/errors.ts";
export { type Layout, LAYOUT_NAMES, layoutOf, PADDING } from "../../engine/layout/catalog.ts";
export { factsOf, imbalanceOf, type RankFacts, shardsOf, wholeShards } from "../../engine/layout/facts.ts";
export { type Transfer, transfersBetween } from "../../engine/layout/transfers.ts";
export type { Named as Fault } from "../../engine/reference/compare/compare.ts";
export type { Cell, Comparison, Place } from "../../engine/reference/compare/compare.ts";
export type { RowHop } from "../../engine/reference/compare/hops.ts";
export type { TracedHop, TracedStep, TraceReading } from "../../engine/trace/hops.ts";
export { chromeTrace } from "../../engine/trace/perfetto.ts";
