/** Somebody's result: whole, by rank, or by rank and hop, with axes in any order that fits. */
import { InputError } from "../../errors.ts";
import { PADDING } from "../../layout/catalog.ts";
import { DIMS, type Dims, LSE_DIMS, type LseDims, ordered } from "../../tensor/dims.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Named } from "../../tensor/named.ts";
import { showShape, type Tensor } from "../../tensor/tensor.ts";
import type { Piece } from "./problem.ts";
import type { Setting } from "./setting.ts";

/** Fewer rows of padding than this may follow a shard's own rows. */
const MOST_PADDING = 1024;

/** The sizes of a whole result. */
export interface Sizes {
  readonly rows: number;
  readonly heads: number;
  readonly valueDim: number;
}

/** Axes that the user gave. */
export interface GivenDims {
  /** Of q, k and v. */
  readonly q: Dims;
  readonly o: Dims | undefined;
  readonly lse: LseDims | undefined;
}

/** What the files hold: the result of all tokens, that of each rank, or that of each rank and hop. */
export type TheirKind = "theirs" | "shards" | "partials";

/** O and LSE as the files hold them. */
export interface TheirTensors {
  readonly o?: Named;
  readonly lse?: Named;
}

/**
 * Their pieces, and the types that the files store. `read` reads a rank's files, at a hop if there are any. Errors:
 * InputError; those of `read`.
 */
export async function piecesOf(
  kind: TheirKind,
  read: (rank: number, hop: number | undefined) => Promise<TheirTensors>,
  sizes: Sizes,
  setting: Setting | undefined,
  dims: GivenDims,
): Promise<{ readonly pieces: readonly Piece[]; readonly stored: readonly DType[] }> {
  const stored: DType[] = [];
  const piece = async (
    rank: number,
    hop: number | undefined,
    rows: Int32Array,
    held?: Piece["held"],
  ): Promise<Piece> => {
    const { o, lse } = await read(rank, hop);
    for (const part of [o, lse]) if (part !== undefined) stored.push(part[1].dtype);
    return {
      rank,
      hop,
      rows,
      held,
      o: o && fitted(o, DIMS, dims.o, "--theirs-dims", rows, sizes, dims.q),
      lse: lse && fitted(lse, LSE_DIMS, dims.lse, "--lse-dims", rows, sizes),
    };
  };
  if (kind === "theirs") {
    const rows = Int32Array.from({ length: sizes.rows }, (_, row) => row);
    const whole = await piece(0, undefined, rows);
    return { pieces: setting === undefined ? [whole] : byRank(whole, setting, sizes), stored };
  }
  const pieces: Piece[] = [];
  for (let rank = 0; rank < setting!.ranks; rank++) {
    if (kind === "shards") pieces.push(await piece(rank, undefined, setting!.rows[rank]));
    for (let hop = 0; kind === "partials" && hop < setting!.ranks; hop++) {
      const { queries, keys } = setting!.meets(rank, hop);
      pieces.push(await piece(rank, hop, setting!.rows[queries], setting!.keys[keys]));
    }
  }
  return { pieces, stored };
}

/**
 * A tensor in the engine's order: the one order of axes that fits its shape, or `own`, that of q, if several do. Errors:
 * InputError.
 */
function fitted<D extends Dims | LseDims>(
  [name, tensor]: Named,
  known: readonly D[],
  given: D | undefined,
  option: string,
  rows: Int32Array,
  { heads, valueDim }: Sizes,
  own?: D,
): Float32Array {
  const real = rows.filter((row) => row !== PADDING).length;
  const withD = known.includes("thd" as D);
  const wanted = (count: number) => (withD ? [count, heads, valueDim] : [count, heads]);
  const fits = (given === undefined ? known : [given]).flatMap((dims) => {
    if (tensor.shape.length !== dims.length) return [];
    const { shape, data } = orderedOrNone(tensor, dims, name) ?? { shape: [], data: tensor.data };
    // Some pad a rank's rows at their end once more, so that all ranks have as many.
    const one = !dims.startsWith("b") || tensor.shape[0] === 1;
    const padded = one && shape[0] > rows.length && shape[0] - rows.length < MOST_PADDING ? shape[0] : real;
    const count = [rows.length, real, padded].find((n) => showShape(shape) === showShape(wanted(n)));
    return count === undefined ? [] : [{ dims, data, count }];
  });
  // Orders that leave the data where it is are one reading.
  const different = fits.filter(({ data }, i) => fits.findIndex((other) => same(other.data, data)) === i);
  if (different.length === 0) {
    throw new InputError(
      `${name}: found shape ${showShape(tensor.shape)}, expected ${showShape(wanted(rows.length))}${
        real === rows.length ? "" : ` (or ${showShape(wanted(real))} without padding)`
      }${given === undefined ? ` or its axes in another order (${known.join(", ")})` : ` as ${option} ${given}`}`,
    );
  }
  const [alike] = different.filter(({ dims }) => dims === own);
  if (different.length > 1 && alike === undefined) {
    throw new InputError(
      `${name}: found shape ${showShape(tensor.shape)}, which fits ${
        different.map(({ dims }) => dims).join(" and ")
      }; expected ${option} to say which`,
    );
  }
  const { data, count } = alike ?? different[0];
  const width = data.length / count;
  return count < rows.length ? spread(data, rows, width) : data.subarray(0, rows.length * width);
}

function orderedOrNone(tensor: Tensor, dims: Dims | LseDims, name: string): ReturnType<typeof ordered> | undefined {
  try {
    return ordered(tensor, dims, name);
  } catch {
    return undefined;
  }
}

function same(a: Float32Array, b: Float32Array): boolean {
  return a === b || a.every((x, i) => Object.is(x, b[i]));
}

/** Rows of real tokens at their places among padding. */
function spread(data: Float32Array, rows: Int32Array, width: number): Float32Array {
  const out = new Float32Array(rows.length * width);
  let from = 0;
  for (const [place, row] of rows.entries()) {
    if (row === PADDING) continue;
    out.set(data.subarray(from * width, (from + 1) * width), place * width);
    from++;
  }
  return out;
}

/** A whole result as each rank's shard of it, so that a wrong row has a rank and a place. */
function byRank({ o, lse }: Piece, { rows }: Setting, { heads, valueDim }: Sizes): Piece[] {
  return rows.map((own, rank): Piece => {
    const part = (from: Float32Array | undefined, width: number) => {
      if (from === undefined) return undefined;
      const to = new Float32Array(own.length * width);
      own.forEach((row, place) => {
        if (row !== PADDING) to.set(from.subarray(row * width, (row + 1) * width), place * width);
      });
      return to;
    };
    return { rank, rows: own, o: part(o, heads * valueDim), lse: part(lse, heads) };
  });
}
