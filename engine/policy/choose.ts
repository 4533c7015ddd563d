/** pass-KV or pass-Q: Algorithm 1, Algorithm 5 and the fitted rule, each with its terms and its reason in numbers. */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { type Exposure, exposure } from "./exposure.ts";
import { type FittedConstants, fittedRule, fittedThreshold, PRINTED, REFITTED } from "./fitted.ts";
import { checked, missRate, type Setting } from "./setting.ts";
import { hiddenKv, hiddenQ, smallerQueries, smallerQueriesAll2All } from "./thresholds.ts";
import { bytesText, countText, digits, percentText, secondsText } from "./units.ts";

/**
 * `alg1`: Algorithm 1; `alg5`: Algorithm 5, which counts the All2All; `fitted`: h(T, P) as printed; `refitted`: h
 * refitted to Table 4.
 */
export type Rule = "alg1" | "alg5" | "fitted" | "refitted";

/** Every rule by name, in the order of the paper. */
export const RULES: readonly Rule[] = ["alg1", "alg5", "fitted", "refitted"];

/** How near a choice is to its rule's border: on it (to rounding), within 5 % of it, or neither. */
export type Closeness = "tie" | "near-tie" | "clear";

/** The numbers that a rule looked at. Tokens, miss rates (0 .. 1), bytes and seconds. */
export interface Terms extends Exposure {
  readonly new: number;
  readonly cached: number;
  readonly missRate: number;
  /** Eq. 1: the miss rate up to which the Q message is the smaller. */
  readonly missEq1: number;
  /** Eq. 2: T from which pass-KV is hidden. */
  readonly newEq2: number;
  /** Eq. 3: T+P from which pass-Q's ring is hidden. */
  readonly contextEq3: number;
  /** Eq. 5: the miss rate up to which pass-Q wins with its All2All. */
  readonly missEq5: number;
  /** h(T, P) and the miss rate at which it is 0, for the fitted rules. */
  readonly h?: number;
  readonly missFitted?: number;
  /**
   * Signed distance from the rule's border, positive on pass-KV's side: relative for Eq. 2, as a share of Eq. 1's miss
   * rate for miss rates, h itself when fitted; null with one rank, which has no border.
   */
  readonly margin: number | null;
}

/** A choice with its reason. */
export interface Choice {
  readonly variant: Variant;
  readonly rule: Rule;
  readonly closeness: Closeness;
  readonly terms: Terms;
  /** Which border decided: the rule's comparison in one sentence. */
  readonly why: string;
  /**
   * `why`, with the messages and what the rule's rates alone predict as exposed: a simulation beside it gives other
   * seconds.
   */
  readonly reason: string;
}

const ROUNDING = 1e-9;
const NEAR = 0.05;

/**
 * The variant that `rule` (default Algorithm 5) names for a step. `constants` replaces the fitted rule's constants.
 * On an exact tie Algorithms 1 and 5 say `>=`, so pass-KV. One rank: nothing travels, pass-KV. Errors: InputError.
 */
export function choose(setting: Setting & { readonly rule?: Rule; readonly constants?: FittedConstants }): Choice {
  const rule = setting.rule ?? "alg5";
  if (!RULES.includes(rule)) {
    throw new InputError(`policy: unknown rule ${JSON.stringify(rule)}; there are ${RULES.join(", ")}`);
  }
  const s = checked(setting);
  const eq = {
    new: s.new,
    cached: s.cached,
    missRate: missRate(s),
    missEq1: smallerQueries(s),
    newEq2: hiddenKv(s),
    contextEq3: hiddenQ(s),
    missEq5: smallerQueriesAll2All(s),
    ...exposure(s),
  };
  if (s.ranks === 1) {
    return {
      variant: "pass-kv",
      rule,
      closeness: "clear",
      terms: { ...eq, margin: null },
      why: "one rank: nothing travels",
      reason: "one rank: nothing travels",
    };
  }
  const judged = rule === "alg1"
    ? algorithm1(eq)
    : rule === "alg5"
    ? algorithm5(eq)
    : fitted(eq, setting.constants ?? (rule === "fitted" ? PRINTED : REFITTED));
  const size = Math.abs(judged.margin);
  const closeness = size <= ROUNDING ? "tie" : size < NEAR ? "near-tie" : "clear";
  // Algorithms 1 and 5 compare with >=, and the tie may be off by rounding (T = 3200 of Table 4 with peak rates); h > 0
  // is strict.
  const variant: Variant = judged.margin > 0 || (closeness === "tie" && !rule.endsWith("fitted"))
    ? "pass-kv"
    : "pass-q";
  const near = closeness === "clear"
    ? ""
    : closeness === "tie"
    ? " (an exact tie, which >= gives to pass-KV)"
    : " (a near-tie, within 5 % of the border)";
  const messages = `messages of ${bytesText(eq.kvBytes)} (KV) against ${bytesText(eq.qBytes)} (Q)`;
  const exposed = `predicted exposed ${secondsText(eq.exposedKv)} a layer in pass-KV against ${
    secondsText(eq.exposedQ)
  } in pass-Q, All2All of ${secondsText(eq.all2all)} included`;
  const why = `${judged.why}${near}`;
  return {
    variant,
    rule,
    closeness,
    terms: { ...eq, ...judged.terms, margin: judged.margin },
    why,
    reason: `${why}: ${messages}, ${exposed}`,
  };
}

type Equations = Omit<Terms, "margin">;

interface Judged {
  readonly margin: number;
  readonly why: string;
  readonly terms?: Pick<Terms, "h" | "missFitted">;
}

/** Algorithm 1: pass-KV if T >= Eq. 2 or T/(T+P) >= Eq. 1. */
function algorithm1(t: Equations): Judged {
  return byThresholds(t, t.missEq1, "Eq. 1");
}

/** Algorithm 5: pass-KV if T >= Eq. 2 or T/(T+P) >= Eq. 5. */
function algorithm5(t: Equations): Judged {
  return byThresholds(t, t.missEq5, "Eq. 5");
}

function byThresholds(t: Equations, miss: number, name: string): Judged {
  const hidden = t.new / t.newEq2 - 1;
  const rate = (t.missRate - miss) / t.missEq1;
  const margin = Math.max(hidden, rate);
  const tokens = t.newEq2 < 1
    ? "Eq. 2 hides pass-KV's ring at any T"
    : `T = ${countText(t.new)} ${hidden >= 0 ? "reaches" : "is under"} Eq. 2's ${countText(t.newEq2)}`;
  const share = miss > 0
    ? `the miss rate ${percentText(t.missRate)} ${rate >= -ROUNDING ? "reaches" : "is under"} ${name}'s ${
      percentText(miss)
    }`
    : `${name} leaves pass-Q no miss rate at this T`;
  return { margin, why: margin < -ROUNDING ? `${tokens} and ${share}` : hidden >= 0 ? tokens : share };
}

/** Appendix D: pass-KV if h(T, P) > 0. */
function fitted(t: Equations, constants: FittedConstants): Judged {
  const h = fittedRule(t, constants);
  const missFitted = fittedThreshold(t.new, constants);
  const border = missFitted > 1
    ? "at no miss rate for this T"
    : `at a miss rate of ${percentText(missFitted)} for this T`;
  return {
    margin: h,
    terms: { h, missFitted },
    why: `h(T, P) = ${digits(h)} is ${h > 0 ? "above" : "not above"} 0, which it crosses ${border}`,
  };
}
