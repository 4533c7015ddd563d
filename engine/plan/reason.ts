/** A plan's words: why it has its variant, and remarks on it. */
import type { Variant } from "../ring/contract.ts";
import { choose } from "../policy/choose.ts";
import { isLocal, type Mask, sayMask } from "../layout/mask.ts";
import type { Dealing } from "../layout/shards.ts";
import { bytesText, flopsText, percentText, secondsText } from "../policy/units.ts";
import { bytesOf } from "./gemm.ts";
import type { Layer } from "./layer.ts";
import type { CheckedInput, PlanInput } from "./plan-input.ts";
import type { PlacedStep, Sent } from "./work.ts";

/** A layer under one mask. */
export interface LayerKind {
  /** What its queries see. */
  readonly mask: Mask;
  /** How many layers of the model are like it. */
  readonly layers: number;
  /** One of them. */
  readonly layer: Layer;
}

/** All layers in one variant and dealing. */
export interface Run {
  readonly variant: Variant;
  readonly dealing: Dealing;
  readonly kinds: readonly LayerKind[];
  /** Seconds of all layers. */
  readonly seconds: number;
}

/** The predicted time of a variant and dealing. */
export interface Alternative {
  /** The variant. */
  readonly variant: Variant;
  /** How ranks get tokens. */
  readonly dealing: Dealing;
  /** Seconds of the step. */
  readonly seconds: number;
}

/** Variants that differ by less are a near-tie. */
export const NEAR_TIE = 0.015;

/** Why the plan has this variant: the simulated times, and the verdict of Algorithm 5 or the bytes under a local mask. */
export function reasonOf(
  c: CheckedInput,
  alternatives: readonly Alternative[],
  { variant, kinds }: Run,
  step: PlacedStep,
): string {
  if (c.cp === 1) return "one rank: nothing travels";
  const [{ layer, mask }] = kinds;
  // Each variant in the dealing that suits it.
  const both = (["pass-kv", "pass-q"] as const).flatMap((one) => {
    const times = alternatives.filter((a) => a.variant === one).map((a) => a.seconds);
    return times.length === 0 ? [] : [Math.min(...times)];
  });
  const hop = `a hop's attention takes ${secondsText(layer.attend)}, its transfer ${secondsText(layer.transfer)}`;
  if (isLocal(mask)) {
    const sent = `a ${sayMask(mask)} layer sends ${sentText(layer.sent)}`;
    return both.length === 1 ? `${variant} as requested; ${hop}; ${sent}` : `${timesText(both)}; ${hop}; ${sent}`;
  }
  const { headDim, valueDim, valuesInKeys } = step.model;
  const rule = choose({
    new: c.new * c.batch,
    cached: c.cached * c.batch,
    ranks: c.cp,
    heads: step.heads.queries,
    kvHeads: step.heads.kv,
    headDim,
    ...(valueDim === undefined ? {} : { valueDim }),
    ...(valuesInKeys === undefined ? {} : { valuesInKeys }),
    bytes: c.kvBytes,
    flops: step.rates.tensor,
    bandwidth: step.rates.flow.rate,
  });
  const rates = `Algorithm 5 with C = ${flopsText(rule.terms.attend === 0 ? 0 : step.rates.tensor)} and BW = ${
    (step.rates.flow.rate / 1e9).toFixed(1)
  } GB/s`;
  if (both.length === 1) return `${variant} as requested; ${hop}; ${rates} says ${rule.variant}: ${rule.why}`;
  const verdict = rule.variant === variant ? "agrees" : `says ${rule.variant}`;
  return `${timesText(both)}; ${hop}; ${rates} ${verdict}: ${rule.why}`;
}

function timesText([kv, q]: readonly number[]): string {
  const apart = Math.abs(q - kv) / Math.min(kv, q);
  const near = apart < NEAR_TIE ? ", a near-tie" : "";
  return `simulated: pass-KV ${secondsText(kv)}, pass-Q ${secondsText(q)} (${percentText(apart)} apart${near})`;
}

/** Why the plan has this dealing: as asked, as in the paper, or the times, bytes and balance of both. */
export function dealingReasonOf(
  { dealing = "auto" }: PlanInput,
  c: CheckedInput,
  runs: readonly Run[],
  best: Run,
  head: number,
): string {
  if (c.cp === 1) return "one rank has all tokens";
  if (dealing !== "auto") return `${dealing} as requested`;
  if (c.dealings.length === 1) {
    return c.masks.every(({ mask }) => mask.kind === "full")
      ? "as in the paper; under a full mask both dealings have the same work"
      : "as in the paper, to balance a causal mask";
  }
  const said = c.dealings.map((one) => {
    const fastest = runs.filter((run) => run.dealing === one).reduce((a, b) => (b.seconds < a.seconds ? b : a));
    const kinds = fastest.kinds.map(({ mask, layer }) =>
      `${sayMask(mask)}: ${bytesText(layer.sent.bytes)} a layer, the busiest rank has ${
        layer.sent.balance.toFixed(2)
      } times the mean pairs`
    );
    return `${one} ${secondsText(fastest.seconds + head)} in ${fastest.variant} (${kinds.join("; ")})`;
  });
  return `${best.dealing} is faster: ${said.join(", ")}`;
}

/** What one GPU of every rank sends, and what the mask saves. */
export function sentText({ bytes, skipped }: Sent): string {
  return `${bytesText(bytes)} from one GPU of each rank, and skips ${
    bytesText(skipped.bytes)
  } and ${skipped.hops} hops`;
}

/** Remarks on a plan: what it leaves out or extrapolates. */
export function notesOf(input: PlanInput, c: CheckedInput): string[] {
  const notes = [...input.model.notes];
  if (c.masks.some(({ mask }) => isLocal(mask))) {
    notes.push("memory counts all cached tokens of every layer: Ringside keeps keys that no later query sees");
  }
  if (input.model.latent !== undefined) notes.push("latent attention is planned in its absorbed form, also in prefill");
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
