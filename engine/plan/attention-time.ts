/** The time of one partial attention, and of the merge, on one GPU. */
import { type Elements, elementsOf } from "../policy/setting.ts";
import { attentionFlops } from "./flops.ts";
import type { GpuRates } from "./rates.ts";

/** One attention call on one GPU. */
export interface AttentionCall extends Elements {
  /** Visible query-key pairs. */
  readonly pairs: number;
  readonly queryRows: number;
  /** KV rows that the call reads, over all sequences of its queries. */
  readonly keyRows: number;
  readonly headDim: number;
  /** Bytes of a KV element. */
  readonly kvBytes: number;
}

/**
 * Seconds of an attention call: `kernel floor + max(FLOPs / tensor rate, bytes / HBM rate)`. FLOPs bound prefill
 * (Table 3), and reading the KV bounds one-token decode (Table 8). A call that sees no key costs its launch.
 */
export function attentionTime(c: AttentionCall, rates: GpuRates): number {
  const { q, kv, o } = elementsOf(c);
  const flops = attentionFlops(c.pairs, c.heads, c.headDim, c.valueDim);
  const bytes = c.keyRows * kv * c.kvBytes + c.queryRows * (q + o) * 2;
  return rates.parameters.kernelFloor + Math.max(flops / rates.tensor, bytes / rates.memory);
}

/**
 * Seconds to merge `partials` partial results (Eq. 4). HBM bounds it: the merge reads each O and LSE once and writes
 * the merged O.
 */
export function mergeTime(partials: number, rows: number, heads: number, valueDim: number, rates: GpuRates): number {
  return partials < 2 ? 0 : ((partials + 1) * rows * heads * (valueDim * 2 + 4)) / rates.memory;
}
