/** Storage types of tensor elements, and conversion between them and f32. */
import { getFloat16 } from "@petamoriken/float16";
import { InputError } from "../errors.ts";

/** f32, IEEE half precision, bfloat16 (the upper half of an f32). */
export type DType = "f32" | "f16" | "bf16";

/** Bytes of one element: the paper's e. */
export function bytesPer(dtype: DType): 2 | 4 {
  return dtype === "f32" ? 4 : 2;
}

/** Largest relative error of one rounding to nearest: 24 significant bits in f32, 11 in f16, 8 in bf16. */
export const ROUNDING: Readonly<Record<DType, number>> = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 };

/**
 * Stores `values` as `dtype` in a fresh buffer of exactly `values.length * bytesPer(dtype)` bytes, little-endian like
 * every host that WebGPU runs on. Rounds to nearest, ties to even. Numbers beyond the largest become infinities; NaN
 * stays NaN.
 */
export function toBytes(values: Float32Array, dtype: DType): ArrayBuffer {
  if (dtype === "f32") return new Float32Array(values).buffer;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  if (dtype === "bf16") { for (let i = 0; i < out.length; i++) out[i] = bf16Bits(bits[i]); }
  else for (let i = 0; i < out.length; i++) out[i] = f16Bits(bits[i]);
  return out.buffer;
}

/**
 * The values that `toBytes` stored: `count` elements from `byteOffset` (aligned or not), by default all that
 * follow. Exact, always a copy. Throws InputError if the bytes don't hold them.
 */
export function fromBytes(
  bytes: ArrayBufferLike,
  dtype: DType,
  byteOffset = 0,
  count?: number,
): Float32Array<ArrayBuffer> {
  const size = bytesPer(dtype);
  const n = count ?? (bytes.byteLength - byteOffset) / size;
  if (
    !Number.isSafeInteger(byteOffset) || byteOffset < 0 || !Number.isSafeInteger(n) || n < 0 ||
    byteOffset + n * size > bytes.byteLength
  ) {
    throw new InputError(
      `fromBytes ${dtype}: found ${n} elements of ${size} bytes from byte ${byteOffset}, ` +
        `expected whole elements within ${bytes.byteLength} bytes`,
    );
  }
  if (dtype === "f32") {
    const out = new Float32Array(n);
    new Uint8Array(out.buffer).set(new Uint8Array(bytes, byteOffset, n * size));
    return out;
  }
  const aligned = byteOffset % 2 === 0;
  const halves = aligned
    ? new Uint16Array(bytes, byteOffset, n)
    : new Uint16Array(bytes.slice(byteOffset, byteOffset + n * size));
  if (dtype === "f16") {
    const table = (f16Table ??= makeF16Table());
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = table[halves[i]];
    return out;
  }
  const out = new Uint32Array(n);
  for (let i = 0; i < n; i++) out[i] = halves[i] << 16;
  return new Float32Array(out.buffer);
}

/** `count` numbers in f64 from `byteOffset`, rounded to f32. */
export function fromF64(bytes: ArrayBufferLike, byteOffset: number, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(new Float64Array(bytes.slice(byteOffset, byteOffset + 8 * count)));
}

/**
 * Reads numbers in 8 bits: e4m3 (bias 7, no infinity, NaN where all bits but the sign are 1) or e5m2 (bias 15, as IEEE).
 * Source: arXiv 2209.05433, table 1.
 */
export function fromF8(kind: "e4m3" | "e5m2"): typeof fromF64 {
  const [fraction, bias] = kind === "e4m3" ? [3, 7] : [2, 15];
  const table = Float32Array.from({ length: 256 }, (_, bits) => {
    const exponent = (bits & 0x7f) >> fraction;
    const part = (bits & ((1 << fraction) - 1)) / 2 ** fraction;
    const sign = bits & 0x80 ? -1 : 1;
    if (kind === "e4m3" && (bits & 0x7f) === 0x7f) return NaN;
    if (kind === "e5m2" && exponent === 31) return part === 0 ? sign * Infinity : NaN;
    return exponent === 0 ? sign * part * 2 ** (1 - bias) : sign * (1 + part) * 2 ** (exponent - bias);
  });
  return (bytes, byteOffset, count) => {
    const out = new Float32Array(count);
    new Uint8Array(bytes, byteOffset, count).forEach((bits, i) => (out[i] = table[bits]));
    return out;
  };
}

/**
 * bf16 pattern nearest to an f32 pattern. A NaN keeps its upper bits, and a bit that keeps it from turning infinite.
 */
function bf16Bits(x: number): number {
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | ((x >>> 16) & 0x7f ? 0 : 0x40);
  return (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
}

/**
 * f16 pattern nearest to an f32 pattern. Written here because the dependency's setFloat16 takes 0.5 us per element (2.0
 * s for 4 M elements, Node 20): too slow for a wire.
 */
function f16Bits(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const a = x & 0x7fffffff;
  if (a >= 0x47800000) return sign | (a > 0x7f800000 ? 0x7e00 : 0x7c00); // at least 65536, or NaN
  // Rebias the exponent by 127 - 15, round away 13 bits; a carry runs into the exponent, from 65520 to infinity.
  if (a >= 0x38800000) return sign | ((a - 0x38000000 + 0xfff + ((a >>> 13) & 1)) >>> 13);
  // Below 2^-14: a whole number of 2^-24, as the 24-bit significand times 2^(exponent field - 150).
  const shift = 126 - (a >>> 23);
  if (shift > 24) return sign;
  const significand = (a & 0x7fffff) | 0x800000;
  const floor = significand >>> shift;
  return sign | ((significand + (1 << (shift - 1)) - 1 + (floor & 1)) >>> shift);
}

/** f32 value of every f16 pattern: 256 KiB, made at the first use. */
let f16Table: Float32Array | undefined;

function makeF16Table(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 65536 }, (_, pattern) => {
    view.setUint16(0, pattern);
    return getFloat16(view, 0);
  });
}
