/** Tensors as files give them: a shape, the stored type, and the values in f32. */
import { InputError } from "../errors.ts";
import type { DType } from "./dtype.ts";

/** A dense tensor in C order (the last axis is adjacent). */
export interface Tensor {
  /** Elements along each axis. */
  readonly shape: readonly number[];
  /** As stored in the file. */
  readonly dtype: DType;
  /** The values in f32. */
  readonly data: Float32Array;
}

/** Whether each of `shape` is a non-negative safe integer. */
export function isShape(shape: unknown): shape is number[] {
  return Array.isArray(shape) && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/**
 * Elements of a shape: 1 for a scalar's `[]`, 0 if an axis has length 0. Undefined if the product of the other axes is
 * no safe integer, even beside a 0: like numpy, so that every stride is exact.
 */
export function elements(shape: readonly number[]): number | undefined {
  const product = shape.reduce((n, length) => n * (length || 1), 1);
  if (!Number.isSafeInteger(product)) return undefined;
  return shape.includes(0) ? 0 : product;
}

/** A shape for people: `[512, 8, 64]`. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/**
 * Throws an InputError at the first NaN or infinity. It gives `name` (the file, and the tensor in it), index and value.
 */
export function requireFinite(tensor: Tensor, name: string): void {
  const { data, shape } = tensor;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    throw new InputError(
      `${name}: found ${data[i]} at ${showShape(indexOf(i, shape))} of shape ${
        showShape(shape)
      }, expected finite values only`,
    );
  }
}

/** Index along each axis of element `i` in C order. */
function indexOf(i: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (const length of shape.toReversed()) {
    index.unshift(i % length);
    i = Math.floor(i / length);
  }
  return index;
}
