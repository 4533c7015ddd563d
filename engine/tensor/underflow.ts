/** Warns of tensors whose small numbers a 16-bit type holds with too few digits, or as zero. */
import { type DType, fromBytes, ROUNDING, toBytes } from "./dtype.ts";

/** Smallest normal number: below it digits are lost one by one. */
const NORMAL = { f16: 2 ** -14, bf16: 2 ** -126 } as const;

/**
 * One line if rounding `data` (vectors of `headDim` elements) to `dtype` underflows: some vector loses more to numbers
 * too small for the type than the rounding of its largest element loses. Small elements beside large ones don't count.
 */
export function sayUnderflow(name: string, data: Float32Array, dtype: DType, headDim: number): string | undefined {
  if (dtype === "f32") return undefined;
  const held = fromBytes(toBytes(data, dtype), dtype);
  const vectors = data.length / headDim;
  let [lost, flushed] = [0, 0];
  for (let at = 0; at < data.length; at += headDim) {
    let [largest, off] = [0, 0];
    for (let i = at; i < at + headDim; i++) {
      largest = Math.max(largest, Math.abs(data[i]));
      off = Math.max(off, Math.abs(held[i] - data[i]));
      if (held[i] === 0 && data[i] !== 0) flushed++;
    }
    if (largest < NORMAL[dtype] && off > ROUNDING[dtype] * largest) lost++;
  }
  if (lost === 0) return undefined;
  return `${name}: ${dtype} underflow: ${lost} of ${vectors} vectors of D have no element of ${
    NORMAL[dtype].toExponential(1)
  } or more, below which ${dtype} loses digits` +
    ` (${flushed} elements become 0); scale it up, or use ${dtype === "f16" ? "bf16 or f32" : "f32"}`;
}
