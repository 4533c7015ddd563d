/**
 * The chunks that ranks send each other: rows of Q, of K and V, or a partial result, with a block that names their
 * tokens.
 */
import type { Mask } from "../layout/mask.ts";
import { shared } from "../layout/shared.ts";
import type { Block, Run } from "../layout/shards.ts";
import type { Chunk } from "./contract.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";

/**
 * Rows on their way. `data` holds, for queries, Q `[rows, H, D]`; for keys, K `[rows, Hkv, D]` then V `[rows, Hkv, Dv]`,
 * or K alone if V is part of it; for a partial, O `[rows, H, Dv]` then LSE `[rows, H]`, both f32.
 */
export interface RankChunk extends Chunk {
  readonly block: Block;
  readonly data: ArrayBuffer;
}

/** Builds a chunk of as many bytes as its data. */
export function rankChunk(owner: number, block: Block, data: ArrayBuffer): RankChunk {
  return { owner, block, data, bytes: data.byteLength };
}

/** Whether two blocks have the same tokens in the same rows. */
function sameBlock(a: Block, b: Block): boolean {
  return a === b || (a.rows === b.rows && a.runs.length === b.runs.length && a.runs.every((run, i) => {
    const { sequence, start, length, row } = b.runs[i];
    return run.sequence === sequence && run.start === start && run.length === length && run.row === row;
  }));
}

/** Adjacent rows of a block. */
export type Rows = Pick<Run, "row" | "length">;

/** The shape of one attention, and how its operands are stored. */
export interface Shape {
  readonly heads: number;
  readonly kvHeads: number;
  /** D, of queries and keys. */
  readonly headDim: number;
  /** Dv, of values and O. */
  readonly valueDim: number;
  /** V is the first Dv elements of each row of K (MLA's absorbed form), so one row is held and sent, not two. */
  readonly valuesInKeys: boolean;
  readonly scale: number;
  readonly mask: Mask;
  readonly q: DType;
  readonly kv: DType;
}

/** Bytes of a row of each tensor of a chunk of queries, of keys and of a partial, in the order of its data. */
export function rowBytes(shape: Shape): Readonly<Record<"queries" | "keys" | "partial", readonly number[]>> {
  const { heads, kvHeads, headDim, valueDim, valuesInKeys, q, kv } = shape;
  const k = kvHeads * headDim * bytesPer(kv);
  return {
    queries: [heads * headDim * bytesPer(q)],
    keys: valuesInKeys ? [k] : [k, kvHeads * valueDim * bytesPer(kv)],
    partial: [heads * valueDim * 4, heads * 4],
  };
}

/** FLOPs of attention to `pairs` query-key pairs: two products, each with a multiply and an add an element. */
export function attentionFlops({ heads, headDim, valueDim }: Shape, pairs: number): number {
  return 2 * (headDim + valueDim) * heads * pairs;
}

/**
 * A chunk's rows as those of another block. Rows of it that the chunk lacks get `filler[i]` in tensor i, 32-bit words
 * (default 0). `widths`: bytes of a row of each tensor.
 */
export function relaid(
  chunk: RankChunk,
  block: Block,
  widths: readonly number[],
  filler: readonly number[] = [],
): RankChunk {
  if (sameBlock(block, chunk.block)) return chunk;
  const data = new Uint8Array(block.rows * widths.reduce((sum, width) => sum + width, 0));
  const copies = shared(chunk.block, block);
  let [from, to] = [0, 0];
  for (const [i, width] of widths.entries()) {
    if (filler[i] !== undefined) new Float32Array(data.buffer, to, (block.rows * width) / 4).fill(filler[i]);
    for (const copy of copies) {
      data.set(new Uint8Array(chunk.data, from + copy.from * width, copy.rows * width), to + copy.to * width);
    }
    from += chunk.block.rows * width;
    to += block.rows * width;
  }
  return rankChunk(chunk.owner, block, data.buffer);
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

/** O `[rows, H, Dv]` and LSE `[rows, H]` of a result's bytes, and the elements of a row of O. */
export function outcomeOf(
  data: ArrayBuffer,
  { heads, valueDim }: Pick<Shape, "heads" | "valueDim">,
): { readonly o: Float32Array; readonly lse: Float32Array; readonly width: number } {
  const width = heads * valueDim;
  const rows = data.byteLength / (4 * (width + heads));
  return {
    o: new Float32Array(data, 0, rows * width),
    lse: new Float32Array(data, rows * width * 4, rows * heads),
    width,
  };
}

/**
 * Merges a learned logit of each head into every row of a result, in place: a partial result of O = 0 and LSE = logit
 * (Eq. 4). A row without keys then has that LSE.
 */
export function mergeSinks(data: ArrayBuffer, shape: Pick<Shape, "heads" | "valueDim">, sinks: Float32Array): void {
  const { o, lse } = outcomeOf(data, shape);
  for (let i = 0; i < lse.length; i++) {
    const sink = sinks[i % shape.heads];
    const held = lse[i] <= 0.5 * NO_KEYS ? -Infinity : lse[i];
    const both = Math.max(held, sink) + Math.log1p(Math.exp(-Math.abs(held - sink)));
    const keep = Math.exp(held - both);
    for (let d = i * shape.valueDim; d < (i + 1) * shape.valueDim; d++) o[d] *= keep;
    lse[i] = both;
  }
}

/** Replaces NO_KEYS by -Infinity, in place. */
export function publicLse(lse: Float32Array): Float32Array {
  for (let i = 0; i < lse.length; i++) if (lse[i] <= 0.5 * NO_KEYS) lse[i] = -Infinity;
  return lse;
}
