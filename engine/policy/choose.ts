/**
 * Chooses pass-KV or pass-Q by Algorithm 1, Algorithm 5 or the fitted rule, and gives the numbers behind the choice.
 */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { isLocal, sayMask } from "../layout/mask.ts";
import { type Exposure, exposure } from "./exposure.ts";
import { type FittedConstants, fittedRule, fittedThreshold, PRINTED, REFITTED } from "./fitted.ts";
import { type Sent, sentBytes } from "./sent.ts";
import { checkSetting, missRate, type Setting } from "./setting.ts";
import { hiddenKv, hiddenQ, smallerQueries, smallerQueriesAll2All } from "./thresholds.ts";
import { bytesText, countText, digits, percentText, secondsText } from "./units.ts";

/**
 * `alg1`: Algorithm 1. `alg5`: Algorithm 5, which counts the All2All. `fitted`: h(T, P) as printed. `refitted`: h
 * refitted to Table 4.
 */
export type Rule = "alg1" | "alg5" | "fitted" | "refitted";

/** Every rule by name, in the order of the paper. */
export const RULES: readonly Rule[] = ["alg1", "alg5", "fitted", "refitted"];

/** How close a choice is to its rule's border: on it (up to rounding), within 5 % of it, or neither. */
export type Closeness = "tie" | "near-tie" | "clear";

/** The numbers a rule compares: tokens, miss rates (0 .. 1), bytes and seconds. */
export interface Terms extends Exposure {
  /** T. */
  readonly new: number;
  /** P. */
  readonly cached: number;
  /** T / (T + P). */
  readonly missRate: number;
  /** Eq. 1: up to this miss rate, the Q message is smaller than the KV message. */
  readonly missEq1: number;
  /** Eq. 2: from this T on, attention hides pass-KV's ring. */
  readonly newEq2: number;
  /** Eq. 3: from this T+P on, attention hides pass-Q's ring. */
  readonly contextEq3: number;
  /** Eq. 5: up to this miss rate, pass-Q wins even with its All2All. */
  readonly missEq5: number;
  /** For the fitted rules, h(T, P) and the miss rate at which h is 0. */
  readonly h?: number;
  /** See `h`. */
  readonly missFitted?: number;
  /** Under a window or chunk mask, what all ranks send in one layer. It decides, because the rules assume a causal mask. */
  readonly sent?: Readonly<Record<Variant, Sent>>;
  /**
   * Signed distance from the rule's border, positive on pass-KV's side. For Eq. 2 it is relative, for miss rates it is
   * a share of Eq. 1's miss rate, for the fitted rules it is h, and under a window or chunk mask it is the difference of
   * the bytes over the larger. One rank has no border: null.
   */
  readonly margin: number | null;
}

/** A choice with its reason. */
export interface Choice {
  /** The variant that the rule names. */
  readonly variant: Variant;
  /** The rule. */
  readonly rule: Rule;
  /** How close the step is to the rule's border. */
  readonly closeness: Closeness;
  /** The numbers that the rule compared. */
  readonly terms: Terms;
  /** The comparison that decided, in one sentence. */
  readonly why: string;
  /**
   * `why`, with the message sizes and the exposed seconds. These seconds follow from the rates alone, so a simulation
   * gives others.
   */
  readonly reason: string;
}

const ROUNDING = 1e-9;
const NEAR = 0.05;

/**
 * The variant that `rule` (default Algorithm 5) names for a step. The rules assume that a query sees all keys before it.
 * That is wrong under a window or chunk mask, so there the variant that sends fewer bytes is chosen, and the reason says
 * what the rule would name. `constants` replaces the fitted rule's constants. On an exact tie, Algorithms 1 and 5 choose
 * pass-KV, because they compare with `>=`. With one rank nothing travels, and the answer is pass-KV. Errors: InputError.
 */
export function choose(setting: Setting & { readonly rule?: Rule; readonly constants?: FittedConstants }): Choice {
  const rule = setting.rule ?? "alg5";
  if (!RULES.includes(rule)) {
    throw new InputError(`policy: rule: found ${JSON.stringify(rule)}, expected ${RULES.join(" or ")}`);
  }
  const s = checkSetting(setting);
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
  const closeness = closenessOf(judged.margin);
  // Algorithms 1 and 5 compare with >=, and rounding may move a tie (T = 3200 of Table 4 with peak rates). The fitted
  // rules compare strictly: h > 0.
  const variant: Variant = judged.margin > 0 || (closeness === "tie" && !rule.endsWith("fitted"))
    ? "pass-kv"
    : "pass-q";
  if (isLocal(s.mask)) return byBytes(s, rule, { ...eq, ...judged.terms }, variant);
  const near = closeness === "clear"
    ? ""
    : closeness === "tie"
    ? " (an exact tie, which >= gives to pass-KV)"
    : " (a near-tie, within 5 % of the border)";
  const plain = s.valueDim === s.headDim && !s.valuesInKeys;
  const elements = plain
    ? ""
    : `${countText(eq.kvElements)} elements a token in KV and ${countText(eq.qElements)} in Q, `;
  const messages = `${elements}messages of ${bytesText(eq.kvBytes)} (KV) against ${bytesText(eq.qBytes)} (Q)`;
  const exposed = `predicted exposed communication ${secondsText(eq.exposedKv)} a layer in pass-KV against ${
    secondsText(eq.exposedQ)
  } in pass-Q (including its All2All of ${secondsText(eq.all2all)})`;
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

function closenessOf(margin: number): Closeness {
  const size = Math.abs(margin);
  return size <= ROUNDING ? "tie" : size < NEAR ? "near-tie" : "clear";
}

/** The choice under a local mask: the variant that sends fewer bytes. `named`: what the rule would choose. */
function byBytes(s: Required<Setting>, rule: Rule, eq: Equations, named: Variant): Choice {
  const sent = sentBytes(s);
  const [kv, q] = [sent["pass-kv"], sent["pass-q"]];
  const margin = (q.bytes - kv.bytes) / Math.max(1, q.bytes, kv.bytes);
  const variant = margin >= 0 ? "pass-kv" : "pass-q";
  const why =
    `under ${sayMask(s.mask)}, dealt ${s.dealing}, all ranks send ${bytesText(kv.bytes)} a layer in pass-KV ` +
    `and ${bytesText(q.bytes)} in pass-Q`;
  const hops = `${kv.skippedHops} and ${q.skippedHops} of ${s.ranks ** 2} hops have no attention`;
  return {
    variant,
    rule,
    closeness: closenessOf(margin),
    terms: { ...eq, sent, margin },
    why,
    reason: `${why}${margin === 0 ? "" : ", and the fewer bytes decide"}; ${hops}; ${
      SAY_RULE[rule]
    }, which assumes a causal mask, says ${named}`,
  };
}

/** The rules in words. */
const SAY_RULE: Readonly<Record<Rule, string>> = {
  alg1: "Algorithm 1",
  alg5: "Algorithm 5",
  fitted: "Appendix D's rule",
  refitted: "the refitted rule",
};

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
    : `by ${name}, pass-Q wins at no miss rate for this T`;
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
