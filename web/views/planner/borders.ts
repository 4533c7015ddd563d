/** The borders of the policy's rules on the map: polylines of (T, miss rate). */
import {
  type Choice,
  choose,
  findModel,
  fittedThreshold,
  hiddenKv,
  PARAMETERS,
  PRINTED,
  ratesOf,
  REFITTED,
  type Rule,
  RULES,
  type Setting,
  smallerQueries,
  smallerQueriesAll2All,
} from "../../engine/plan.ts";
import { clusterOf, MAP } from "./state.ts";
import type { Question } from "../../lib/address/plan.ts";

/** A rule's border. */
export interface Border {
  readonly rule: Rule;
  readonly name: string;
  /** T and miss rate. */
  readonly points: readonly (readonly [number, number])[];
}

/** Names of the rules. */
export const ruleNames: Readonly<Record<Rule, string>> = {
  alg1: "Algorithm 1",
  alg5: "Algorithm 5",
  fitted: "h as printed",
  refitted: "h refitted",
};

type Layout = Omit<Setting, "new" | "cached">;

/** A question's layout for the rules: one GPU's heads, and the planner's rates. */
export function settingOf(question: Question): Layout {
  const model = findModel(question.model);
  const rates = ratesOf(clusterOf(question), PARAMETERS);
  const { cp, tp } = question;
  return {
    ranks: cp,
    heads: model.heads / tp,
    kvHeads: Math.max(1, model.kvHeads / tp),
    headDim: model.headDim,
    bytes: 2,
    flops: rates.tensor,
    bandwidth: rates.flow.rate,
  };
}

/** The borders, cut to the map. */
export function bordersOf(question: Question): Border[] {
  const setting = settingOf(question);
  const [least, most] = MAP.tokens;
  const [low, high] = MAP.misses;
  const hidden = hiddenKv(setting);
  const equal = smallerQueries(setting);
  const along = Array.from({ length: 97 }, (_, i) => least * (most / least) ** (i / 96));
  // Eq. 5 reaches 0 exactly where Eq. 2 hides pass-KV, and falls steeply there.
  const toHidden = Array.from({ length: 97 }, (_, i) => Math.min(most, hidden) * (1 - (1 - i / 96) ** 3)).filter((T) =>
    T >= least
  );
  const lines: Record<Rule, (readonly [number, number])[]> = {
    alg1: [[least, equal], [hidden, equal], [hidden, low]],
    alg5: [least, ...toHidden].map((T) => [T, smallerQueriesAll2All({ ...setting, new: T })]),
    fitted: along.map((T) => [T, fittedThreshold(T, PRINTED)]),
    refitted: along.map((T) => [T, fittedThreshold(T, REFITTED)]),
  };
  return RULES.map((rule) => ({
    rule,
    name: ruleNames[rule],
    points: clipped(lines[rule].filter(([T]) => T <= most), low, high),
  }));
}

/** A polyline, cut where its miss rate leaves the map. Interpolates logarithms. */
function clipped(
  points: readonly (readonly [number, number])[],
  low: number,
  high: number,
): (readonly [number, number])[] {
  const out: (readonly [number, number])[] = [];
  const inside = (miss: number) => miss >= low && miss <= high;
  points.forEach(([T, miss], i) => {
    const before = points[i - 1];
    if (before !== undefined && inside(before[1]) !== inside(miss)) {
      const edge = Math.min(before[1], miss) < low ? low : high;
      const [a, b] = [Math.max(before[1], low / 10), Math.max(miss, low / 10)].map(Math.log);
      const share = b === a ? 1 : Math.min(1, Math.max(0, (Math.log(edge) - a) / (b - a)));
      out.push([before[0] * (T / before[0]) ** share, edge]);
    }
    if (inside(miss)) out.push([T, miss]);
  });
  return out;
}

/** The choice of every rule at a point. */
export function saysAt(question: Question, T: number, cached: number): readonly Choice[] {
  return RULES.map((rule) => choose({ ...settingOf(question), new: T, cached, rule }));
}
