/** A plan's words: why it has its variant, and remarks on it. */
import type { Variant } from "../ring/contract.ts";
import { choose } from "../policy/choose.ts";
import { flopsText, percentText, secondsText } from "../policy/units.ts";
import { bytesOf } from "./gemm.ts";
import type { Layer } from "./layer.ts";
import type { CheckedInput, PlanInput } from "./plan-input.ts";
import type { PlacedStep } from "./work.ts";

/** A variant's predicted time. */
export interface Alternative {
  /** The variant. */
  readonly variant: Variant;
  /** Seconds of the step. */
  readonly seconds: number;
}

/** Variants that differ by less are a near-tie. */
export const NEAR_TIE = 0.015;

/** Why the plan has this variant: the simulated times, and the verdict of Algorithm 5. */
export function reasonOf(
  c: CheckedInput,
  alternatives: readonly Alternative[],
  variant: Variant,
  result: Layer,
  step: PlacedStep,
): string {
  if (c.cp === 1) return "one rank: nothing travels";
  const rule = choose({
    new: c.new * c.batch,
    cached: c.cached * c.batch,
    ranks: c.cp,
    heads: step.heads.queries,
    kvHeads: step.heads.kv,
    headDim: step.model.headDim,
    bytes: c.kvBytes,
    flops: step.rates.tensor,
    bandwidth: step.rates.flow.rate,
  });
  const rates = `Algorithm 5 with C = ${flopsText(rule.terms.attend === 0 ? 0 : step.rates.tensor)} and BW = ${
    (step.rates.flow.rate / 1e9).toFixed(1)
  } GB/s`;
  const hop = `a hop's attention takes ${secondsText(result.attend)}, its transfer ${secondsText(result.transfer)}`;
  if (alternatives.length === 1) return `${variant} as requested; ${hop}; ${rates} says ${rule.variant}: ${rule.why}`;
  const [kv, q] = alternatives.map((a) => a.seconds);
  const apart = Math.abs(q - kv) / Math.min(kv, q);
  const near = apart < NEAR_TIE ? ", a near-tie" : "";
  const verdict = rule.variant === variant ? "agrees" : `says ${rule.variant}`;
  return `simulated: pass-KV ${secondsText(kv)}, pass-Q ${secondsText(q)} (${
    percentText(apart)
  } apart${near}); ${hop}; ${rates} ${verdict}: ${rule.why}`;
}

/** Remarks on a plan: what it leaves out or extrapolates. */
export function notesOf(input: PlanInput, c: CheckedInput): string[] {
  const notes = [...input.model.notes];
  if (!["gtt", "gti"].includes(input.cluster.name)) {
    notes.push(
      "the parameters are calibrated on the paper's H100s and fabric; " +
        "on other hardware, the planner assumes the same shares and overheads",
    );
  }
  if (c.persistent && c.cp !== 4 && !c.decode) notes.push("the overhead of a persistent cache is known only for CP4");
  if (bytesOf(c.ffn) !== bytesOf(input.model.ffnPrecision)) notes.push(`feed-forward weights planned in ${c.ffn}`);
  return notes;
}
