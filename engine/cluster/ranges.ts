/** The values that f32 arithmetic and the wire types can hold: validation rejects larger ones before they overflow. */
import { InputError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";

/** A bound on magnitudes in f32, with room for the sums of attention. */
export const F32_MAX = 1e38;
/** Largest finite value of each type: f16's is (2 - 2^-10) 2^15, bf16's (2 - 2^-7) 2^127. */
const LARGEST: Readonly<Record<DType, number>> = { f32: Infinity, f16: 65504, bf16: 3.3895313892515355e38 };
/** Seeded values are below this (engine/tensor/seeded.ts). */
export const SEEDED_MOST = 4;

/** The extremes of a sequence's cached rows: their number and largest magnitudes. */
export interface Cached {
  readonly tokens: number;
  /** Largest |k|. */
  readonly k: number;
  /** Largest |v|. */
  readonly v: number;
}

/** A sequence without rows. */
export const NOTHING_CACHED: Cached = { tokens: 0, k: 0, v: 0 };

/**
 * Throws InputError if scores of queries and keys of these magnitudes may overflow f32. Kernels multiply by the scale
 * and by log2(e) before or after the sum over D, so both orders must fit.
 */
export function validateScores(
  prefix: string,
  q: number,
  k: number,
  headDim: number,
  scale = 1 / Math.sqrt(headDim),
): void {
  const by = Math.max(1, 2 * Math.abs(scale));
  if (q * k * headDim * by > F32_MAX || q * by > F32_MAX) {
    throw new InputError(
      `${prefix}q and k: found values up to ${q} and ${k}, whose scores may overflow f32; expected |q| |k| D and |q|, ` +
        `each times twice the scale (${scale}), below ${F32_MAX}: scale them down`,
    );
  }
}

/** Throws InputError if the sum of values up to `v` over all tokens may overflow f32. */
export function validateSums(prefix: string, v: number, tokens: number): void {
  if (v * tokens > F32_MAX) {
    throw new InputError(
      `${prefix}v: found values up to ${v}, whose sums may overflow f32; expected |v| (T + P) below ${F32_MAX}: ` +
        "scale them down",
    );
  }
}

/** Throws InputError if a wire type can't hold the largest value of a tensor. */
export function validateHeld(name: string, max: number, wire: DType): void {
  if (max <= LARGEST[wire]) return;
  throw new InputError(
    `${name}: found a value of magnitude ${max}, which ${wire} on the wire cannot hold (at most ${
      LARGEST[wire]
    }); use ${wire === "f16" ? "bf16 or f32" : "f32"}`,
  );
}

/** The largest magnitude of a tensor. Throws InputError for a value that is not finite. */
export function largestOf(name: string, data: Float32Array): number {
  let max = 0;
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]);
    if (!(size <= max)) {
      if (!Number.isFinite(size)) {
        throw new InputError(`${name}: found ${data[i]} at element ${i}, expected finite numbers`);
      }
      max = size;
    }
  }
  return max;
}
