/** Floating-point operations of a model's step: Table 3 and Appendix A of the paper. */
import type { Sequence } from "../layout/shards.ts";
import { isLocal, type Mask } from "../layout/mask.ts";
import { pairsOfRuns } from "../layout/pairs.ts";
import { type MaskedLayers, masksOf, type Model, weightCount } from "./models.ts";

/** The query-key pairs that a sequence's new tokens see under the causal mask, `T P + T (T+1) / 2`. */
export function causalPairs({ new: T, cached: P }: Sequence): number {
  return T * P + (T * (T + 1)) / 2;
}

/** The query-key pairs that a sequence's new tokens see under a mask. */
export function visiblePairs(sequence: Sequence, mask: Mask): number {
  const { new: T, cached: P } = sequence;
  if (mask.kind === "causal") return causalPairs(sequence);
  return isLocal(mask) ? pairsOfRuns({ start: P, length: T }, { start: 0, length: P + T }, mask) : T * (T + P);
}

/**
 * FLOPs of attention in one layer, `2 (D_H + Dv) N_H` a pair: two products, each with a multiply and an add an element.
 */
export function attentionFlops(pairs: number, heads: number, headDim: number, valueDim = headDim): number {
  return 2 * (headDim + valueDim) * heads * pairs;
}

/** Table 3 as printed: one layer that counts all pairs, not only the causal half, `4 T D (T+P)`. */
export function attentionFlopsPrinted(T: number, P: number, width: number): number {
  return 4 * T * width * (T + P);
}

/** Appendix A's GEMM FLOPs of the whole model, `2 W T`. */
export function gemmFlops(m: Model, T: number): number {
  return 2 * weightCount(m) * T;
}

/** Appendix A's model FLOPs of a step of B sequences: `2 W T B` plus the attention of all layers under their masks. */
export function modelFlops(
  m: Model,
  sequence: Sequence,
  batch: number,
  masks: readonly MaskedLayers[] = masksOf(m),
): number {
  const attention = masks.reduce(
    (sum, { mask, layers }) =>
      sum + layers * attentionFlops(visiblePairs(sequence, mask), m.heads, m.headDim, m.valueDim),
    0,
  );
  return batch * (gemmFlops(m, sequence.new) + attention);
}
