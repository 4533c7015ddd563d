/** Chapter 2: attention of one query row block by block, and the tiles of the causal mask. */
import { block, CAUSAL, type CpuPartial, reference, visibility } from "../../../engine/learn.ts";
import { copyOf, D, small, SmallAttention } from "./small.ts";

/** A tile of the mask. */
export interface Tile {
  readonly row: number;
  readonly column: number;
  /** Query-key pairs that the mask lets through. */
  readonly pairs: number;
  readonly kind: "full" | "cut" | "skipped";
}

/** The followed row after a block of keys. */
export interface BlockRead {
  readonly from: number;
  readonly to: number;
  /** Keys of the block that the row sees. */
  readonly seen: number;
  readonly lse: number;
  /** First element of O. */
  readonly out: number;
}

/** One row through all blocks, and the whole mask. */
export interface Blocks {
  readonly reads: readonly BlockRead[];
  readonly exact: { readonly out: number; readonly lse: number };
  readonly tiles: readonly Tile[];
  /** Pairs that the mask lets through, and pairs in the tiles that are computed. */
  readonly pairs: number;
  readonly computed: number;
  /** FLOPs of these pairs, 4 D each. */
  readonly flops: number;
  /** Bytes of all scores in f32, and of the scores of one tile. */
  readonly scoreBytes: number;
  readonly tileBytes: number;
}

/** `tokens` tokens in blocks of `size`, and row `row` through them. */
export async function blocks(seed: number, tokens: number, size: number, row: number): Promise<Blocks> {
  const input = small(seed, [{ new: tokens, cached: 0 }]);
  const attention = new SmallAttention(input);
  const at = (start: number, end: number) => block([[{ start, end: Math.min(tokens, end) }]]);
  const starts = Array.from({ length: Math.ceil(tokens / size) }, (_, i) => i * size);
  const query = at(row, row + 1);
  const reads: BlockRead[] = [];
  let held: CpuPartial | undefined;
  for (const from of starts) {
    held = await attention.attend(query, at(from, from + size), held);
    const { o, lse } = copyOf(held);
    reads.push({
      from,
      to: Math.min(tokens, from + size),
      seen: visibility(query, at(from, from + size), CAUSAL).pairs,
      lse: lse[0],
      out: o[0],
    });
  }
  const tiles = starts.flatMap((rowStart, r) =>
    starts.map((columnStart, c): Tile => {
      const [q, kv] = [at(rowStart, rowStart + size), at(columnStart, columnStart + size)];
      const { pairs } = visibility(q, kv, CAUSAL);
      return { row: r, column: c, pairs, kind: pairs === 0 ? "skipped" : pairs === q.rows * kv.rows ? "full" : "cut" };
    })
  );
  const exact = reference(input, [row]);
  const pairs = tiles.reduce((sum, tile) => sum + tile.pairs, 0);
  const computed = tiles.filter(({ kind }) => kind !== "skipped").length * size * size;
  return {
    reads,
    exact: { out: exact.out[0], lse: exact.lse[0] },
    tiles,
    pairs,
    computed,
    flops: 4 * D * pairs,
    scoreBytes: 4 * tokens * tokens,
    tileBytes: 4 * size * size,
  };
}
