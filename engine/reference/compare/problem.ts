/**
 * What should have been computed, and what somebody computed: a problem, and pieces of its result. A piece is a rank's
 * rows of O and LSE, final ones or those of one hop.
 */
import type { Sequence } from "../../layout/shards.ts";
import { type DType } from "../../tensor/dtype.ts";
import type { KeyRun, ReferenceInput } from "../attention.ts";

/** An attention and the type that somebody computed it in, which sets how far a right result may lie off. */
export interface Problem extends ReferenceInput {
  /** The type of their products or of their result, whichever is narrower. */
  readonly dtype: DType;
}

/** Rows of one rank, in the order of its shard. */
export interface Piece {
  /** The rank; 0 for a whole result without a layout. */
  readonly rank: number;
  /** The hop of a partial result; undefined for a final one. */
  readonly hop?: number;
  /** The row of Q at each place of the shard; PADDING where it has none. */
  readonly rows: Int32Array;
  /** The keys that a partial result attended to; undefined: all. */
  readonly held?: readonly KeyRun[];
  /** O `[places, H, Dv]`. */
  readonly o?: Float32Array;
  /** LSE `[places, H]`, natural logarithms. */
  readonly lse?: Float32Array;
}

/** One query row and head of a piece. */
export interface At {
  readonly piece: Piece;
  /** The place in the shard. */
  readonly place: number;
  /** The row of Q. */
  readonly row: number;
  readonly head: number;
}

/** O and LSE of a row and head; a part that is undefined is not there to compare. */
export interface Values {
  readonly o?: Float64Array | Float32Array;
  readonly lse?: number;
}

/** What a piece holds of a row and head. */
export function foundAt({ piece: { o, lse }, place, head }: At, heads: number, width: number): Values {
  const i = place * heads + head;
  return { o: o?.subarray(i * width, (i + 1) * width), lse: lse?.[i] };
}

/** The sequence of a row of Q, its position there, and the first row of K of that sequence. */
export function tokenOf(
  sequences: readonly Sequence[],
  row: number,
): { readonly sequence: number; readonly position: number; readonly first: number } {
  let [first, t] = [0, row];
  for (const [sequence, s] of sequences.entries()) {
    if (t < s.new) return { sequence, position: s.cached + t, first };
    t -= s.new;
    first += s.cached + s.new;
  }
  throw new RangeError(`row ${row} is not a row of the queries`);
}
