/**
 * The chunks that ranks send each other: rows of Q, of K and V, or a partial result, with a block that names their
 * tokens.
 */
import type { Block, Run } from "../layout/shards.ts";
import type { Chunk } from "./contract.ts";
import type { DType } from "../tensor/dtype.ts";

/**
 * Rows on their way. `data` holds, for queries, Q `[rows, H, D]`; for keys, K then V, each `[rows, Hkv, D]`; for a
 * partial, O `[rows, H, D]` then LSE `[rows, H]`, both f32.
 */
export interface RankChunk extends Chunk {
  readonly block: Block;
  readonly data: ArrayBuffer;
}

/** Builds a chunk of as many bytes as its data. */
export function rankChunk(owner: number, block: Block, data: ArrayBuffer): RankChunk {
  return { owner, block, data, bytes: data.byteLength };
}

/** Adjacent rows of a block. */
export type Rows = Pick<Run, "row" | "length">;

/** The shape of one attention, and how its operands are stored. */
export interface Shape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly causal: boolean;
  readonly q: DType;
  readonly kv: DType;
}

/** The work of a run on one device, as far as its rank knows beforehand. */
export interface Workload {
  readonly queries: Block;
  readonly keys: Block;
  /** N: the number of attentions. */
  readonly hops: number;
  /** Partial results to merge at the end: N in pass-Q, else 1. */
  readonly parts: number;
}

/** LSE of a row that sees no key, inside devices and messages. The public face says -Infinity. */
export const NO_KEYS = -3e38;

/** Replaces NO_KEYS by -Infinity, in place. */
export function publicLse(lse: Float32Array): Float32Array {
  for (let i = 0; i < lse.length; i++) if (lse[i] <= 0.5 * NO_KEYS) lse[i] = -Infinity;
  return lse;
}
