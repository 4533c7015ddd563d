/** Moves the rows of a session's step: from a batch into the ranks' blocks and caches, and from their results back. */
import { type Block, count, type Range } from "../layout/shards.ts";
import type { CachedRows } from "../rank/cache.ts";
import { outcomeOf, publicLse, type RankChunk, rankChunk } from "../ring/chunk.ts";
import { type DType, toBytes } from "../tensor/dtype.ts";
import type { SessionOutput, SessionRows } from "./types.ts";

/** A step's batch: `before[i]` tokens of sequence i are cached already. */
export interface StepBatch {
  readonly rows: readonly SessionRows[];
  readonly before: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
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
  { rows, before, kvHeads, headDim, valueDim }: StepBatch,
  as: DType,
): CachedRows[] {
  return rows.flatMap(({ sequence, k, v }, i) => {
    const n = count(ranges[i]);
    if (n === 0) return [];
    const tensors = [
      { data: k, width: kvHeads * headDim },
      ...(v === undefined ? [] : [{ data: v, width: kvHeads * valueDim }]),
    ];
    const both = new Float32Array(n * tensors.reduce((sum, { width }) => sum + width, 0));
    let begin = 0;
    for (const { data, width } of tensors) {
      let at = begin;
      for (const { start, end } of ranges[i]) {
        both.set(data.subarray((start - before[i]) * width, (end - before[i]) * width), at);
        at += (end - start) * width;
      }
      begin += n * width;
    }
    return [{ sequence, ranges: ranges[i], data: toBytes(both, as) }];
  });
}

/** O and LSE of the batch, from each rank's result for its block. */
export function outputsOf(
  results: readonly ArrayBuffer[],
  blocks: readonly Block[],
  { rows, before, heads, headDim, valueDim }: StepBatch,
): SessionOutput[] {
  const outputs = rows.map(({ sequence, q }): SessionOutput => ({
    sequence,
    out: new Float32Array((q.length / headDim) * valueDim),
    lse: new Float32Array(q.length / headDim),
  }));
  results.forEach((data, rank) => {
    const { o, lse: own, width } = outcomeOf(data, { heads, valueDim });
    const l = publicLse(own);
    for (const { sequence, start, row, length } of blocks[rank].runs) {
      const at = start - before[sequence];
      const { out, lse } = outputs[sequence];
      out.set(o.subarray(row * width, (row + length) * width), at * width);
      lse.set(l.subarray(row * heads, (row + length) * heads), at * heads);
    }
  });
  return outputs;
}
