/** The time of one partial attention, and of the merge, on one GPU. */
import { attentionFlops } from "./flops.ts";
import type { GpuRates } from "./rates.ts";

/** One attention call on one GPU. */
export interface AttentionCall {
  /** Visible query-key pairs. */
  readonly pairs: number;
  readonly queryRows: number;
  /** KV rows that the call reads, over all sequences of its queries. */
  readonly keyRows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Bytes of a KV element. */
  readonly kvBytes: number;
}

/**
 * Seconds of an attention call: `kernel floor + max(FLOPs / tensor rate, bytes / HBM rate)`. FLOPs bound prefill
 * (Table 3), and reading the KV bounds one-token decode (Table 8). A call that sees no key costs its launch.
 */
export function attentionTime(c: AttentionCall, rates: GpuRates): number {
  const flops = attentionFlops(c.pairs, c.heads, c.headDim);
  const bytes = 2 * c.keyRows * c.kvHeads * c.headDim * c.kvBytes + 2 * c.queryRows * c.heads * c.headDim * 2;
  return rates.parameters.kernelFloor + Math.max(flops / rates.tensor, bytes / rates.memory);
}

/**
 * Seconds to merge `partials` partial results (Eq. 4). HBM bounds it: the merge reads each O and LSE once and writes
 * the merged O.
 */
export function mergeTime(partials: number, rows: number, heads: number, headDim: number, rates: GpuRates): number {
  return partials < 2 ? 0 : ((partials + 1) * rows * heads * (headDim * 2 + 4)) / rates.memory;
}
