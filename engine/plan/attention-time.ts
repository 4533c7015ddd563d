/** Time of one partial attention and of the merge on one GPU. */
import { attentionFlops } from "./flops.ts";
import type { Rates } from "./rates.ts";

/** One attention call on one GPU. */
export interface AttentionCall {
  /** Query-key pairs that are seen. */
  readonly pairs: number;
  readonly queryRows: number;
  /** KV rows that are read, of all the sequences that the queries belong to. */
  readonly keyRows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Bytes of a KV element. */
  readonly kvBytes: number;
}

/**
 * Seconds of an attention call: `kernel floor + max(FLOPs / tensor rate, bytes / HBM rate)`. Prefill is bound by FLOPs
 * (Table 3), one-token decode by reading its KV (Table 8). A call that sees nothing costs its launch.
 */
export function attentionTime(c: AttentionCall, rates: Rates): number {
  const flops = attentionFlops(c.pairs, c.heads, c.headDim);
  const bytes = 2 * c.keyRows * c.kvHeads * c.headDim * c.kvBytes + 2 * c.queryRows * c.heads * c.headDim * 2;
  return rates.parameters.kernelFloor + Math.max(flops / rates.tensor, bytes / rates.memory);
}

/**
 * Seconds of merging `partials` partial results of some rows (Eq. 4): each O and LSE read once, the merged O written;
 * bound by HBM.
 */
export function mergeTime(partials: number, rows: number, heads: number, headDim: number, rates: Rates): number {
  return partials < 2 ? 0 : ((partials + 1) * rows * heads * (headDim * 2 + 4)) / rates.memory;
}
