/** A block cut into row ranges, for devices whose buffers can't hold all of it. */
import { type Block, bySequence } from "./shards.ts";

/** Rows `from <= row < to` of a block, and the block that they form on their own. */
export interface Slice {
  readonly from: number;
  readonly to: number;
  readonly block: Block;
}

/** The rows of a sequence in a block: its tokens, then its padding, up to the next sequence. */
interface Extent {
  readonly from: number;
  readonly to: number;
  /** Its tokens: `first <= row < last`. */
  readonly first: number;
  readonly last: number;
}

/** How a cut counts rows. */
export interface Counting {
  /** The rows of a sequence count as rounded up to a multiple of it; default 1. */
  readonly step?: number;
  /** Most rows of a slice in which no sequence has more than one token; default: as of any other slice. */
  readonly singles?: number;
}

/**
 * Cuts a block into slices of at most `most` rows, in order, at least one. A block that needs no cut stays the same
 * object. Errors: RangeError if not even `step` rows fit.
 */
export function cut(block: Block, most: number, { step = 1, singles = most }: Counting = {}): Slice[] {
  const slices: Slice[] = [];
  const room = Math.floor(most / step) * step;
  let [from, used, several] = [0, 0, false];
  const close = (to: number) => {
    slices.push({ from, to, block: from === 0 && to === block.rows ? block : rowsOf(block, from, to) });
    [from, used, several] = [to, 0, false];
  };
  for (const extent of extentsOf(block)) {
    for (let at = extent.from; at < extent.to;) {
      let take = Math.min(extent.to - at, room - used);
      several ||= Math.min(extent.last, at + take) - Math.max(extent.first, at) > 1;
      if (!several) take = Math.min(take, singles - used);
      if (take > 0) {
        used += Math.ceil(take / step) * step;
        at += take;
      } else if (used === 0) {
        throw new RangeError(`a slice: found room for ${Math.min(room, singles)} rows, expected at least ${step}`);
      } else close(at);
    }
  }
  if (from < block.rows || slices.length === 0) close(block.rows);
  return slices;
}

/** Rows of the longest sequence, padding included. */
export function longest(block: Block): number {
  return Math.max(0, ...extentsOf(block).map(({ from, to }) => to - from));
}

function rowsOf({ runs }: Block, from: number, to: number): Block {
  const own = runs.flatMap(({ sequence, start, length, row }) => {
    const first = Math.max(row, from);
    const end = Math.min(row + length, to);
    return end > first ? [{ sequence, start: start + first - row, length: end - first, row: first - from }] : [];
  });
  return { runs: own, rows: to - from };
}

function extentsOf(block: Block): Extent[] {
  const sequences = [...bySequence(block).values()];
  if (sequences.length === 0) return block.rows === 0 ? [] : [{ from: 0, to: block.rows, first: 0, last: 0 }];
  return sequences.map((runs, i) => {
    const last = runs[runs.length - 1];
    return {
      from: i === 0 ? 0 : runs[0].row,
      to: sequences[i + 1]?.[0].row ?? block.rows,
      first: runs[0].row,
      last: last.row + last.length,
    };
  });
}
