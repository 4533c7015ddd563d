/** Floating-point operations of a model's step: Table 3 and Appendix A of the paper. */
import type { Sequence } from "../layout/shards.ts";
import { type Model, weightCount } from "./models.ts";

/** The query-key pairs that a sequence's new tokens see under the causal mask, `T P + T (T+1) / 2`. */
export function causalPairs({ new: T, cached: P }: Sequence): number {
  return T * P + (T * (T + 1)) / 2;
}

/** FLOPs of attention in one layer, `4 D_H N_H` a pair: two products, each with a multiply and an add. */
export function attentionFlops(pairs: number, heads: number, headDim: number): number {
  return 4 * headDim * heads * pairs;
}

/** Table 3 as printed: one layer that counts all pairs, not only the causal half, `4 T D (T+P)`. */
export function attentionFlopsPrinted(T: number, P: number, width: number): number {
  return 4 * T * width * (T + P);
}

/** Appendix A's GEMM FLOPs of the whole model, `2 W T`. */
export function gemmFlops(m: Model, T: number): number {
  return 2 * weightCount(m) * T;
}

/** Appendix A's model FLOPs of a step of B sequences: `2 W T B` plus causal attention in all layers. */
export function modelFlops(m: Model, sequence: Sequence, batch: number): number {
  return batch * (gemmFlops(m, sequence.new) + m.layers * attentionFlops(causalPairs(sequence), m.heads, m.headDim));
}
