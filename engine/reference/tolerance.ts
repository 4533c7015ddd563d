/** The tolerances: how far a result may lie from the expected one if its row has no bound (bounds.ts). */
import { type DType, ROUNDING } from "../tensor/dtype.ts";

/** An element passes within `absolute` or within `relative` of the expected value. */
export interface Tolerance {
  /** Allowed whatever the value. */
  readonly absolute: number;
  /** Allowed as a share of the value. */
  readonly relative: number;
}

/** f32: PyTorch's own bar for its ring attention. */
export const F32_TOLERANCE: Tolerance = { absolute: 2e-6, relative: 1e-5 };

/** Two results that are each within F32_TOLERANCE of float64 lie within twice that of one another. */
export const F32_PAIR_TOLERANCE: Tolerance = {
  absolute: 2 * F32_TOLERANCE.absolute,
  relative: 2 * F32_TOLERANCE.relative,
};

/** The largest error that a tolerance allows beside an expected value. */
export function allowedBy({ absolute, relative }: Tolerance, expected: number): number {
  return Math.max(absolute, relative * Math.abs(expected));
}

/** The constant part of the 16-bit bar, for values of order 1. */
const SIXTEEN_BIT = 1e-3;

/** What is allowed in a row: for elements of O by their expected value, and for its LSE. */
export interface RowTolerance {
  out(expected: number): number;
  readonly lse: number;
}

/** A row of the expected result, as far as its tolerance depends on it. */
export interface ExpectedValues {
  readonly lse: number;
  /** Largest |O| of the row. */
  readonly largest: number;
  /** sqrt(sum p^2), p the softmax weights. */
  readonly spread: number;
}

/**
 * What is allowed between a row that kernels computed in `dtype` and its recomputation, in float64 or (`inF32`) f32.
 *
 * f32: F32_TOLERANCE. 16 bit: twice what one single-pass kernel of that type may err by, plus 1e-3. Such a kernel
 * rounds the weights p before the product with V, an error of at most u |v| sqrt(sum p^2) if roundings are
 * independent. It also rounds O, by at most u |O|. Rows of O shrink as 1/sqrt(keys), so the constant shrinks with them
 * (`spread`): with a fixed one, a row of a million keys could lose a rank's share and pass. LSE is f32 in every kernel:
 * 1e-3.
 */
export function rowTolerance(dtype: DType, inF32: boolean, { lse, largest, spread }: ExpectedValues): RowTolerance {
  const f32 = (x: number) => allowedBy(F32_TOLERANCE, x);
  // A recomputation in f32 may be off by as much itself.
  const own = inF32 ? f32 : () => 0;
  if (dtype === "f32") return { out: (x) => f32(x) + own(x), lse: f32(lse) + own(lse) };
  const out = 2 * ROUNDING[dtype] * (largest + spread) + SIXTEEN_BIT * spread;
  return { out: (x) => out + own(x), lse: SIXTEEN_BIT + own(lse) };
}

/** The same in words. */
export function sayRowTolerance(dtype: DType, inF32: boolean): string {
  const f32 = `${F32_TOLERANCE.absolute} absolute or ${F32_TOLERANCE.relative} relative`;
  const own = inF32 ? `, plus ${f32} for the recomputation in f32` : "";
  if (dtype === "f32") return `O and LSE within ${f32}${own}`;
  const u = `u = 2^${Math.log2(ROUNDING[dtype])}`;
  return `O within 2 u (max |O| + s) + ${SIXTEEN_BIT} s of its row, ${u}, s = sqrt(sum p^2) of its softmax weights; ` +
    `LSE within ${SIXTEEN_BIT}${own}`;
}
