/** Head counts and head sizes that the kernels can compute. */
import { InputError } from "../errors.ts";
import { refuseUnknown, sayValue } from "../options.ts";

/** Workgroups along one axis of a WebGPU grid: kernels have one a head there. */
const MOST_HEADS = 65_535;

/** Head sizes that some kernel computes: multiples of 4 in this range. */
const [LEAST_DIM, MOST_DIM] = [16, 576];

/** V as the first `prefixOfK` elements of each row of K, as in MLA's absorbed form: then one row is held and sent. */
export interface PrefixOfK {
  /** Dv: at most D. */
  readonly prefixOfK: number;
}

/** The values of a call, as far as their shape depends on them. */
export interface ValueHead {
  /** D, of queries and keys. */
  readonly headDim: number;
  /** Dv, of values and O; default D. */
  readonly valueDim?: number;
  /** V, or where it lies in K. */
  readonly v?: Float32Array | PrefixOfK;
}

/** Dv, and whether V is part of K. */
export function valueHead(
  { headDim, valueDim = headDim, v }: ValueHead,
): { readonly valueDim: number; readonly valuesInKeys: boolean } {
  const inKeys = isPrefixOfK(v);
  return { valueDim: inKeys ? v.prefixOfK : valueDim, valuesInKeys: inKeys };
}

/** Whether V is part of K. */
export function isPrefixOfK(v: unknown): v is PrefixOfK {
  return typeof v === "object" && v !== null && "prefixOfK" in v;
}

/** Throws InputError unless the size of a value's head can be computed, and agrees with where V lies. */
export function validateValueHead({ headDim, valueDim, v }: ValueHead): void {
  if (isPrefixOfK(v)) {
    refuseUnknown("v", v, ["prefixOfK"]);
    requireDim("v: prefixOfK", "Dv", v.prefixOfK);
    if (v.prefixOfK > headDim) {
      throw new InputError(`v: found prefixOfK ${v.prefixOfK}, expected at most K's D = ${headDim}`);
    }
    if (valueDim !== undefined && valueDim !== v.prefixOfK) {
      throw new InputError(
        `valueDim: found ${sayValue(valueDim)} beside prefixOfK ${v.prefixOfK}, expected one of them`,
      );
    }
  } else if (valueDim !== undefined) requireDim("value head dimension", "Dv", valueDim);
}

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
  requireDim("head dimension", "D", headDim);
}

function requireDim(name: string, letter: string, dim: unknown): void {
  if (
    !(Number.isInteger(dim) && (dim as number) % 4 === 0 && LEAST_DIM <= (dim as number) && (dim as number) <= MOST_DIM)
  ) {
    throw new InputError(
      `${name}: found ${letter} = ${sayValue(dim)}, expected a multiple of 4 from ${LEAST_DIM} to ${MOST_DIM}`,
    );
  }
}
