/** Head counts and head sizes that the kernels can compute. */
import { InputError } from "../errors.ts";
import { sayValue } from "../options.ts";

/** Workgroups along one axis of a WebGPU grid: kernels have one a head there. */
const MOST_HEADS = 65_535;

/** Throws InputError unless the head counts and head size can be computed. */
export function validateHeads(heads: number, kvHeads: number, headDim: number): void {
  for (const [name, value] of [["heads (H)", heads], ["KV heads (Hkv)", kvHeads]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new InputError(`${name}: found ${sayValue(value)}, expected a whole number of at least 1`);
    }
    if (value > MOST_HEADS) {
      throw new InputError(
        `${name}: found ${value}, expected at most ${MOST_HEADS}: as many workgroups fit one axis of a WebGPU grid`,
      );
    }
  }
  if (heads % kvHeads !== 0) {
    throw new InputError(
      `heads: found H = ${heads} query heads and Hkv = ${kvHeads} KV heads, expected H a multiple of Hkv`,
    );
  }
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim < 16 || headDim > 256) {
    throw new InputError(`head dimension: found D = ${sayValue(headDim)}, expected a multiple of 4 from 16 to 256`);
  }
}
