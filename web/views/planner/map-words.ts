/** The policy map in words: a point of Table 4, and any other point. */
import { NEAR_TIE, type PaperReport, type TABLE_4 } from "../../engine/plan.ts";
import type { Question } from "../../lib/address/plan.ts";
import { formatCount, formatShare, formatTime } from "../../lib/format/format.ts";
import { sayVariant } from "../../lib/format/variant.ts";
import { ruleNames, saysAt } from "./borders.ts";
import type { Grid } from "./requests.ts";
import { MOST } from "./state.ts";
import { sayError } from "./words.ts";

type Row = (typeof TABLE_4)[number];

/** T / (T + P) of a step. */
export function missOf(step: { readonly new: number; readonly cached: number }): number {
  return step.new / (step.new + step.cached);
}

/** The variant that the paper measured as faster. */
export function winner({ passKv, passQ }: Pick<Row, "passKv" | "passQ">): "pass-kv" | "pass-q" {
  return passKv < passQ ? "pass-kv" : "pass-q";
}

/** The tokens at a point of T and miss rate. */
export function tokensAt([T, miss]: readonly [number, number]): { readonly new: number; readonly cached: number } {
  const fresh = Math.max(1, Math.round(T));
  return { new: fresh, cached: Math.min(MOST.cached, Math.max(0, Math.round(fresh / miss) - fresh)) };
}

/** The index of the value nearest to `value`, by the ratio. */
export function nearest(values: readonly number[], value: number): number {
  const far = (v: number) => Math.abs(Math.log(v / value));
  return values.reduce((best, v, i) => (far(v) < far(values[best]) ? i : best), 0);
}

/** A row of Table 4: its times with the model's errors, the faster variant, and the choice of each rule. */
export function sayMeasured(question: Question, report: PaperReport | undefined, row: Row): string {
  const { new: fresh, cached, passKv, passQ } = row;
  const apart = Math.max(passKv, passQ) / Math.min(passKv, passQ) - 1;
  const time = (name: string, id: string, milliseconds: number) => {
    const cell = report?.rows.find((one) => one.id === `t4.${fresh}.${id}`);
    return `${name} ${formatTime(milliseconds / 1e3)}${cell === undefined ? "" : ` (model ${sayError(cell.error)})`}`;
  };
  return `Table 4, T = ${formatCount(fresh)}, P = ${formatCount(cached)}, miss rate ${formatShare(missOf(row))}: ` +
    `measured ${time("pass-KV", "kv", passKv)}, ${time("pass-Q", "q", passQ)}; ` +
    `${sayVariant(winner(row))} faster by ${formatShare(apart)}${apart < NEAR_TIE ? ", a near-tie" : ""}. ` +
    sayRules(question, fresh, cached);
}

/** A point of T and miss rate: what the simulation finds near it, and the choice of each rule. */
export function sayAt(question: Question, grid: Grid, at: readonly [number, number]): string {
  const step = tokensAt(at);
  const miss = missOf(step);
  const { tokens, misses, lead, fits } = grid;
  const cell = nearest(misses, miss) * tokens.length + nearest(tokens, step.new);
  const faster = lead[cell] > 0 ? "pass-KV" : "pass-Q";
  return `T = ${formatCount(step.new)}, P = ${formatCount(step.cached)}, miss rate ${formatShare(miss)}: ` +
    `${fits[cell] === 0 ? "does not fit in memory; " : ""}simulated near here, ${faster} is faster by ` +
    `${formatShare(Math.exp(Math.abs(lead[cell])) - 1)}. ${sayRules(question, step.new, step.cached)}`;
}

function sayRules(question: Question, T: number, cached: number): string {
  return `${
    saysAt(question, T, cached).map(({ rule, variant }) => `${ruleNames[rule]}: ${sayVariant(variant)}`).join(", ")
  }.`;
}
