/** What is allowed between a worker's row and its recomputation, by the type that kernels computed in. */
import type { DType } from "../../engine/tensor/dtype.ts";
import { F32_TOLERANCE } from "../../engine/reference/error.ts";
import type { Verification } from "./types.ts";

/** Largest relative error of one rounding: 8 significant bits in bf16, 11 in f16. */
const UNIT: Readonly<Record<Exclude<DType, "f32">, number>> = { bf16: 2 ** -8, f16: 2 ** -11 };
/** The constant part of the 16-bit bar, for values of order 1. */
const SIXTEEN_BIT = 1e-3;

/** What is allowed in a row: for elements of O by their expected value, and for its LSE. */
export interface Allowed {
  out(expected: number): number;
  readonly lse: number;
}

/**
 * f32: 2e-6 absolute or 1e-5 relative. 16 bit: twice what one single-pass kernel of that type may make, plus 1e-3. Such
 * a kernel rounds the weights p before the product with V, an error of at most u |v| sqrt(sum p^2) where roundings are
 * independent, and rounds O, at most u |O|. Rows of O shrink as 1/sqrt(keys), so the constant shrinks with them
 * (`spread`): with a fixed one, a row of a million keys could lose a rank's share and pass. LSE is f32 in every kernel:
 * 1e-3.
 */
export function allowedIn(
  dtype: DType,
  how: Verification["with"],
  lse: number,
  largest: number,
  spread: number,
): Allowed {
  const f32 = (x: number) => Math.max(F32_TOLERANCE.absolute, F32_TOLERANCE.relative * Math.abs(x));
  // A recomputation in f32 may be off by as much itself.
  const own = how === "webgpu" ? f32 : () => 0;
  if (dtype === "f32") return { out: (x) => f32(x) + own(x), lse: f32(lse) + own(lse) };
  const out = 2 * UNIT[dtype] * (largest + spread) + SIXTEEN_BIT * spread;
  return { out: (x) => out + own(x), lse: SIXTEEN_BIT + own(lse) };
}

/** The bar in words. */
export function sayTolerance(dtype: DType, how: Verification["with"]): string {
  const f32 = `${F32_TOLERANCE.absolute} absolute or ${F32_TOLERANCE.relative} relative`;
  const own = how === "webgpu" ? `, plus ${f32} for the recomputation in f32` : "";
  if (dtype === "f32") return `O and LSE within ${f32}${own}`;
  return `O within 2 u (max |O| + s) + ${SIXTEEN_BIT} s of its row, u = 2^${
    Math.log2(UNIT[dtype])
  }, s = sqrt(sum p^2) of its softmax weights; LSE within ${SIXTEEN_BIT}${own}`;
}
