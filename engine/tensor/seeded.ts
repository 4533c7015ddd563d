/**
 * Seeded inputs: the same numbers in TypeScript, WGSL and PyTorch from a seed, in any order, without moving a byte.
 *
 * Recipe, all of it arithmetic on u32 (modulo 2^32; `>>` shifts in zeros):
 *
 *     mix(x)   : x ^= x >> 16;  x *= 0x7feb352d;  x ^= x >> 15;  x *= 0x846ca68b;  x ^= x >> 16;  return x
 *     key      = mix(mix(seed + 0x9e3779b9) + id)                     id: q 0, k 1, v 2
 *     rowKey   = mix(key ^ row)
 *     bits     = mix((rowKey ^ (column * 0x9e3779b9)) + key)
 *     sum      = (bits & 63) + (bits >> 6 & 63) + (bits >> 12 & 63) + (bits >> 18 & 63)
 *     value    = (sum - 126) / 32                                     signed from here on
 *
 * row counts along the first axis of the tensor, column = h * D + d in a row of heads * D.
 * A value is a whole number of -126 to 126 over 32: 7 significant bits, so exact in bf16 (8) and f16 (11), |value| < 4.
 * Four uniform fields make a bell: mean 0, variance 4 * (64^2 - 1) / 12 / 32^2 = 1.333, standard deviation 1.155.
 *
 * WGSL can use the recipe unchanged. PyTorch needs int64 and `& 0xffffffff` after each `+` and `*` (a product that wraps
 * at 2^64 keeps its lower 32 bits); NumPy needs uint32.
 *
 * mix is lowbias32 of Chris Wellons' hash-prospector, public domain (https://nullprogram.com/blog/2018/07/31/): a
 * bijection with little bias, so no two rows of a tensor share a rowKey. 0x9e3779b9 is 2^32 over the golden ratio. It
 * spreads columns over all bits: otherwise rows whose rowKeys differ in few bits would be permutations of each other.
 * key enters twice so that rows of q, k and v never coincide.
 */
import { InputError } from "../errors.ts";

/** The tensors of an experiment, each with its own numbers. */
export type SeededTensor = "q" | "k" | "v";

/** Their numbers in the recipe. */
export const SEEDED_IDS: Readonly<Record<SeededTensor, number>> = { q: 0, k: 1, v: 2 };
const GOLDEN = 0x9e3779b9;
const LIMIT = 2 ** 32;

/**
 * Rows `firstRow` to `firstRow + rows - 1` of a seeded tensor, f32 `[rows, columns]` with column = h * D + d.
 * A value depends on (seed, tensor, row, column) only, so any slice of rows agrees with the whole.
 * `seed`, and every row and column, are whole numbers of 0 to 2^32 - 1; InputError otherwise.
 */
export function seededRows(
  seed: number,
  tensor: SeededTensor,
  firstRow: number,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  requireWhole("seed", seed, LIMIT - 1);
  requireWhole("firstRow", firstRow, LIMIT);
  requireWhole("rows", rows, LIMIT - firstRow);
  requireWhole("columns", columns, LIMIT);
  const key = seededKey(seed, tensor);
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) seededPart(out, r * columns, key, firstRow + r, 0, columns);
  return out;
}

/** The key of a seeded tensor, from which its values follow. */
export function seededKey(seed: number, tensor: SeededTensor): number {
  return mix(mix(seed + GOLDEN) + SEEDED_IDS[tensor]);
}

/**
 * Writes columns `first` to `first + columns - 1` of one row to `out` from `at` on, without the rest of the row.
 */
export function seededPart(
  out: Float32Array | Float64Array,
  at: number,
  key: number,
  row: number,
  first: number,
  columns: number,
): void {
  const rowKey = mix(key ^ row);
  for (let c = first; c < first + columns; c++) out[at++] = bell(mix((rowKey ^ Math.imul(c, GOLDEN)) + key));
}

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

/** Adds the four fields: two sums of two side by side, then those two. */
function bell(bits: number): number {
  const pairs = (bits & 0x3f03f) + ((bits >>> 6) & 0x3f03f);
  return ((pairs & 0xfff) + (pairs >>> 12) - 126) / 32;
}

function requireWhole(what: string, found: number, limit: number): void {
  if (!Number.isInteger(found) || found < 0 || found > limit) {
    throw new InputError(`seeded inputs: ${what}: found ${found}, expected a whole number of 0 to ${limit}`);
  }
}
