/** The order of a tensor's axes: rows T, heads H, elements D, and sequences B of equal length. */
import { InputError } from "../errors.ts";
import { showShape, type Tensor } from "./tensor.ts";

/** Orders of the axes of Q, K, V and O. The engine's own is thd; the sequences of a batch follow one another in it. */
export const DIMS = ["thd", "htd", "bhtd", "bthd"] as const;
/** See DIMS. */
export type Dims = (typeof DIMS)[number];

/** Orders of the axes of LSE; `bht1` has a last axis of 1, as cuDNN gives it. */
export const LSE_DIMS = ["th", "ht", "bht", "bht1"] as const;
/** See LSE_DIMS. */
export type LseDims = (typeof LSE_DIMS)[number];

/** A tensor in the engine's order, and the sequences that its own order names. */
export interface Ordered {
  /** `[T, H, D]`, or `[T, H]` for LSE. */
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** B: 1 without such an axis. */
  readonly sequences: number;
}

/** Moves a tensor's axes to the engine's order. Errors: InputError if it has other axes; `name` is its name. */
export function ordered(tensor: Tensor, dims: Dims | LseDims, name: string): Ordered {
  const wanted = [...dims];
  const { shape, data } = tensor;
  if (shape.length !== wanted.length || (dims === "bht1" && shape[3] !== 1)) {
    throw new InputError(
      `${name}: found shape ${showShape(shape)}, expected ${wanted.length} axes [${
        wanted.map((axis) => (axis === "1" ? "1" : axis.toUpperCase())).join(", ")
      }]`,
    );
  }
  const size = (axis: string) => (wanted.includes(axis) ? shape[wanted.indexOf(axis)] : 1);
  const [B, T, H, D] = ["b", "t", "h", "d"].map(size);
  const out: Ordered = { shape: wanted.includes("d") ? [B * T, H, D] : [B * T, H], data, sequences: B };
  const step = new Map<string, number>();
  wanted.reduceRight((stride, axis, i) => {
    step.set(axis, stride);
    return stride * shape[i];
  }, 1);
  const [b, t, h] = ["b", "t", "h"].map((axis) => step.get(axis) ?? 0);
  if (t === H * D && h === D && (B === 1 || b === T * t)) return out;
  const moved = new Float32Array(data.length);
  let to = 0;
  for (let i = 0; i < B; i++) {
    for (let j = 0; j < T; j++) {
      for (let k = 0; k < H; k++, to += D) {
        const from = i * b + j * t + k * h;
        moved.set(data.subarray(from, from + D), to);
      }
    }
  }
  return { ...out, data: moved };
}
