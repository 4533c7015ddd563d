/** Moves the rows of a session's step: from a batch into the ranks' blocks and caches, and from their results back. */
import { type Block, count, type Range } from "../layout/shards.ts";
import type { CachedRows } from "../rank/cache.ts";
import { publicLse, type RankChunk, rankChunk } from "../ring/chunk.ts";
import { type DType, toBytes } from "../tensor/dtype.ts";
import type { SessionOutput, SessionRows } from "./types.ts";

/** A step's batch: `before[i]` tokens of sequence i are cached already. */
export interface StepBatch {
  readonly rows: readonly SessionRows[];
  readonly before: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** A rank's queries as a chunk. `block` counts sequences by their places in the batch. */
export function queriesOf(
  owner: number,
  block: Block,
  { rows, before, heads, headDim }: StepBatch,
  as: DType,
): RankChunk {
  const width = heads * headDim;
  const q = new Float32Array(block.rows * width);
  for (const run of block.runs) {
    const at = run.start - before[run.sequence];
    q.set(rows[run.sequence].q.subarray(at * width, (at + run.length) * width), run.row * width);
  }
  const runs = block.runs.map((run) => ({ ...run, sequence: rows[run.sequence].sequence }));
  return rankChunk(owner, { rows: block.rows, runs }, toBytes(q, as));
}

/** The rows that a rank appends to its cache: `ranges[i]` of sequence i. */
export function appendsOf(
  ranges: readonly (readonly Range[])[],
  { rows, before, kvHeads, headDim }: StepBatch,
  as: DType,
): CachedRows[] {
  const width = kvHeads * headDim;
  return rows.flatMap(({ sequence, k, v }, i) => {
    const n = count(ranges[i]);
    if (n === 0) return [];
    const both = new Float32Array(2 * n * width);
    let at = 0;
    for (const { start, end } of ranges[i]) {
      const [from, to] = [(start - before[i]) * width, (end - before[i]) * width];
      both.set(k.subarray(from, to), at * width);
      both.set(v.subarray(from, to), (n + at) * width);
      at += end - start;
    }
    return [{ sequence, ranges: ranges[i], data: toBytes(both, as) }];
  });
}

/** O and LSE of the batch, from each rank's result for its block. */
export function outputsOf(
  results: readonly ArrayBuffer[],
  blocks: readonly Block[],
  { rows, before, heads, headDim }: StepBatch,
): SessionOutput[] {
  const width = heads * headDim;
  const outputs = rows.map(({ sequence, q }): SessionOutput => ({
    sequence,
    out: new Float32Array(q.length),
    lse: new Float32Array(q.length / headDim),
  }));
  results.forEach((data, rank) => {
    const block = blocks[rank];
    const o = new Float32Array(data, 0, block.rows * width);
    const l = publicLse(new Float32Array(data, o.byteLength, block.rows * heads));
    for (const { sequence, start, row, length } of block.runs) {
      const at = start - before[sequence];
      const { out, lse } = outputs[sequence];
      out.set(o.subarray(row * width, (row + length) * width), at * width);
      lse.set(l.subarray(row * heads, (row + length) * heads), at * heads);
    }
  });
  return outputs;
}
