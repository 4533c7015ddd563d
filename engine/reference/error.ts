/** How far a result lies from the oracle. */
import { allowedBy, F32_TOLERANCE, type Tolerance } from "./tolerance.ts";

/** Largest and root-mean-square absolute difference, and whether every element is within the tolerance. */
export interface Difference {
  /** The largest absolute difference. */
  readonly max: number;
  /** The root-mean-square difference. */
  readonly rms: number;
  /** Index of the element that differs most. */
  readonly at: number;
  /** Is every element within the tolerance? */
  readonly within: boolean;
}

/**
 * Compares element by element. Equal infinities agree, and a NaN never does. Errors: RangeError if the lengths differ.
 */
export function difference(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance = F32_TOLERANCE,
): Difference {
  if (found.length !== expected.length) {
    throw new RangeError(`comparing ${found.length} elements with ${expected.length}`);
  }
  let max = 0;
  let at = 0;
  let squares = 0;
  let within = true;
  for (let i = 0; i < found.length; i++) {
    if (found[i] === expected[i]) continue;
    const apart = Math.abs(found[i] - expected[i]);
    const off = Number.isNaN(apart) ? Infinity : apart;
    if (!(off <= allowedBy(tolerance, expected[i]))) within = false;
    if (off > max) {
      max = off;
      at = i;
    }
    squares += off * off;
  }
  return { max, rms: Math.sqrt(squares / Math.max(1, found.length)), at, within };
}
