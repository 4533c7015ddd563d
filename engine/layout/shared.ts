/** The rows of two blocks that hold the same tokens. */
import { type Block, bySequence } from "./shards.ts";

/** Rows to copy from one block to another one of the same tokens or fewer. */
export interface Copied {
  /** The first row, in the block that they are copied from. */
  readonly from: number;
  /** The same row in the block that they are copied to. */
  readonly to: number;
  readonly rows: number;
}

/** Where the tokens that two blocks share lie in each. Both have runs ordered by sequence and position. */
export function shared(from: Block, to: Block): Copied[] {
  const copies: Copied[] = [];
  const sources = bySequence(from);
  for (const [sequence, runs] of bySequence(to)) {
    const held = sources.get(sequence) ?? [];
    let i = 0;
    for (const run of runs) {
      while (i < held.length && held[i].start + held[i].length <= run.start) i++;
      for (let j = i; j < held.length && held[j].start < run.start + run.length; j++) {
        const first = Math.max(run.start, held[j].start);
        const end = Math.min(run.start + run.length, held[j].start + held[j].length);
        copies.push({
          from: held[j].row + first - held[j].start,
          to: run.row + first - run.start,
          rows: end - first,
        });
      }
    }
  }
  return copies;
}
