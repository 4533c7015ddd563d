/** Moves rows between whole tensors and the ranks' blocks. */
import { type Block, offsets, type Sequence } from "../layout/shards.ts";
import { outcomeOf, publicLse, type RankChunk, rankChunk, type Shape } from "../ring/chunk.ts";
import { toBytes } from "../tensor/dtype.ts";
import { isPrefixOfK } from "../tensor/heads.ts";
import type { AttendInput } from "./types.ts";

/** The queries of a block, in the shape's storage type. */
export function queryChunk(owner: number, block: Block, input: Omit<AttendInput, "variant">, shape: Shape): RankChunk {
  const width = shape.heads * shape.headDim;
  const starts = offsets(input.sequences.map((s) => s.new));
  const rows = gather(
    input.q,
    block,
    width,
    (sequence, position) => starts[sequence] + position - input.sequences[sequence].cached,
  );
  return rankChunk(owner, block, toBytes(rows, shape.q));
}

/** The keys of a block, then its values if they are no part of the keys, in the shape's storage type. */
export function keyChunk(owner: number, block: Block, input: Omit<AttendInput, "variant">, shape: Shape): RankChunk {
  const [width, valueWidth] = [shape.kvHeads * shape.headDim, shape.kvHeads * shape.valueDim];
  const starts = offsets(input.sequences.map((s) => s.new + s.cached));
  const row = (sequence: number, position: number) => starts[sequence] + position;
  const { v } = input;
  const both = new Float32Array(block.rows * (isPrefixOfK(v) ? width : width + valueWidth));
  gather(input.k, block, width, row, both);
  if (!isPrefixOfK(v)) gather(v, block, valueWidth, row, both.subarray(block.rows * width));
  return rankChunk(owner, block, toBytes(both, shape.kv));
}

/** Puts a rank's O and LSE rows into their places in the whole result. */
export function scatterResult(
  data: ArrayBuffer,
  block: Block,
  sequences: readonly Sequence[],
  shape: Shape,
  out: Float32Array,
  lse: Float32Array,
): void {
  const { heads } = shape;
  const { o, lse: own, width } = outcomeOf(data, shape);
  const l = publicLse(own);
  const starts = offsets(sequences.map((s) => s.new));
  for (const run of block.runs) {
    const to = starts[run.sequence] + run.start - sequences[run.sequence].cached;
    out.set(o.subarray(run.row * width, (run.row + run.length) * width), to * width);
    lse.set(l.subarray(run.row * heads, (run.row + run.length) * heads), to * heads);
  }
}

function gather(
  from: Float32Array,
  block: Block,
  width: number,
  row: (sequence: number, position: number) => number,
  into = new Float32Array(block.rows * width),
): Float32Array {
  for (const run of block.runs) {
    const at = row(run.sequence, run.start);
    into.set(from.subarray(at * width, (at + run.length) * width), run.row * width);
  }
  return into;
}
