/** Reads somebody's result: whole, by rank, or by rank and hop, with axes in any order that fits. */
import { InputError } from "../errors.ts";
import { PADDING } from "../layout/catalog.ts";
import type { Piece } from "../reference/compare/problem.ts";
import type { Setting } from "../reference/compare/setting.ts";
import { DIMS, type Dims, LSE_DIMS, type LseDims, ordered } from "../tensor/dims.ts";
import type { DType } from "../tensor/dtype.ts";
import { showShape, type Tensor } from "../tensor/tensor.ts";
import { type Named, namesOption, readNamed } from "./files.ts";
import { wholeOption } from "./options.ts";

/** The options that name their files. */
export interface TheirOptions {
  readonly theirs?: string;
  readonly shards?: string;
  readonly partials?: string;
  readonly lse?: string;
  readonly names?: string;
  readonly layer?: string;
}

/** The sizes of a whole result. */
interface Sizes {
  readonly rows: number;
  readonly heads: number;
  readonly valueDim: number;
}

/** Axes that the user gave. */
interface GivenDims {
  /** Of q, k and v. */
  readonly q: Dims;
  readonly o: Dims | undefined;
  readonly lse: LseDims | undefined;
}

/** Fewer rows of padding than this may follow a shard's own rows. */
const MOST_PADDING = 1024;

const KINDS = ["theirs", "shards", "partials"] as const;

/** Throws InputError unless one kind of result is given, with the marks that it needs. */
export function requireOneTheirs(o: TheirOptions): void {
  const given = KINDS.filter((kind) => o[kind] !== undefined);
  if (given.length !== 1) {
    throw new InputError(
      given.length === 0
        ? "--theirs: not given, expected --theirs F, --shards PATTERN or --partials PATTERN"
        : `--${given[1]}: found beside --${given[0]}, expected one of them`,
    );
  }
  const marks: readonly string[] = { theirs: [], shards: ["{rank}"], partials: ["{rank}", "{hop}"] }[given[0]];
  for (const option of [given[0], "lse"] as const) {
    const text = o[option];
    if (text === undefined) continue;
    for (const mark of ["{rank}", "{hop}"]) {
      if (marks.includes(mark) !== text.includes(mark)) {
        throw new InputError(
          `--${option} ${text}: found ${marks.includes(mark) ? "no" : "a"} ${mark}, expected ${
            marks.length === 0 ? "one file" : `a pattern with ${marks.join(" and ")}`
          }`,
        );
      }
    }
  }
}

/** Their pieces, and the types that the files store. */
export async function theirPieces(
  o: TheirOptions,
  sizes: Sizes,
  setting: Setting | undefined,
  dims: GivenDims,
): Promise<{ readonly pieces: readonly Piece[]; readonly stored: readonly DType[] }> {
  const stored: DType[] = [];
  const layer = o.names?.includes("{layer}") ? wholeOption("--layer", o.layer, 0) : undefined;
  const names = namesOption(theirNames(o.names), { o: "o", lse: "lse" }, layer);
  const read = async (
    rank: number,
    hop: number | undefined,
    rows: Int32Array,
    held?: Piece["held"],
  ): Promise<Piece> => {
    const fill = (text: string) => text.replaceAll("{rank}", String(rank)).replaceAll("{hop}", String(hop));
    const kind = KINDS.find((one) => o[one] !== undefined)!;
    const { o: out, lse } = await readPiece(kind, fill(o[kind]!), o.lse && fill(o.lse), names);
    for (const part of [out, lse]) if (part !== undefined) stored.push(part[1].dtype);
    const fit = <D extends Dims | LseDims>(
      part: Named | undefined,
      known: readonly D[],
      given: D | undefined,
      option: string,
      own?: D,
    ) => part && fitted(part, known, given, option, rows, sizes, own);
    return {
      rank,
      hop,
      rows,
      held,
      o: fit(out, DIMS, dims.o, "--theirs-dims", dims.q),
      lse: fit(lse, LSE_DIMS, dims.lse, "--lse-dims"),
    };
  };
  if (o.theirs !== undefined) {
    const rows = Int32Array.from({ length: sizes.rows }, (_, row) => row);
    const whole = await read(0, undefined, rows);
    return { pieces: setting === undefined ? [whole] : byRank(whole, setting, sizes), stored };
  }
  const pieces: Piece[] = [];
  for (let rank = 0; rank < setting!.ranks; rank++) {
    if (o.shards !== undefined) pieces.push(await read(rank, undefined, setting!.rows[rank]));
    for (let hop = 0; o.partials !== undefined && hop < setting!.ranks; hop++) {
      const { queries, keys } = setting!.meets(rank, hop);
      pieces.push(await read(rank, hop, setting!.rows[queries], setting!.keys[keys]));
    }
  }
  return { pieces, stored };
}

/** The names of O and LSE alone. */
function theirNames(names: string | undefined): string | undefined {
  const own = names?.split(",").filter((part) => /^(o|lse)=/.test(part)).join(",");
  return own === "" ? undefined : own;
}

async function readPiece(
  kind: string,
  path: string,
  lsePath: string | undefined,
  names: Readonly<Record<"o" | "lse", string>>,
): Promise<{ readonly o?: Named; readonly lse?: Named }> {
  const own = /\.npy$/i.test(path)
    ? { o: (await readNamed(`--${kind}`, path, { o: names.o })).o, out: undefined, lse: undefined }
    : await readNamed(`--${kind}`, path, {}, { o: names.o, out: "out", lse: names.lse });
  const o = own.o ?? own.out;
  const lse = lsePath === undefined ? own.lse : (await readNamed("--lse", lsePath, { lse: names.lse })).lse;
  if (o === undefined && lse === undefined) {
    throw new InputError(
      `--${kind} ${path}: found no tensor ${names.o} and no ${names.lse}, expected one of them; --names o=...,lse=... ` +
        "says what they are called",
    );
  }
  return { o, lse };
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
    const padded = shape[0] > rows.length && shape[0] - rows.length < MOST_PADDING ? shape[0] : real;
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
