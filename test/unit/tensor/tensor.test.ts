/** Shapes, and the check for finite values. */
import assert from "node:assert/strict";
import test from "node:test";
import { InputError } from "../../../engine/errors.ts";
import { elements, isShape, requireFinite } from "../../../engine/tensor/tensor.ts";

test("elements of a shape", () => {
  assert.equal(elements([]), 1);
  assert.equal(elements([2, 3, 4]), 24);
  assert.equal(elements([5, 0, 4]), 0);
  assert.equal(elements([2 ** 30, 2 ** 30]), undefined);
  assert.equal(elements([2 ** 30, 2 ** 30, 0]), undefined);
});

test("what a shape is", () => {
  for (const shape of [[], [0], [1, 2]]) assert.ok(isShape(shape));
  for (const shape of [null, "3", [1.5], [-1], ["1"], [2 ** 53], [NaN]]) assert.ok(!isShape(shape));
});

test("requireFinite names file, index and value of the first that is not", () => {
  const tensor = (shape: number[], ...data: number[]) => ({
    shape,
    dtype: "f32" as const,
    data: Float32Array.from(data),
  });
  requireFinite(tensor([2, 1], 1, -3), "q.npy");
  requireFinite(tensor([0, 4]), "q.npy");
  assert.throws(() => requireFinite(tensor([2, 1, 3], 1, 2, 3, 4, NaN, Infinity), "q.npy"), {
    name: "InputError",
    message: "q.npy: found NaN at [1, 0, 1] of shape [2, 1, 3], expected finite values only",
  });
  assert.throws(
    () => requireFinite(tensor([2], 1, -Infinity), `in.safetensors: tensor "k"`),
    /in\.safetensors: tensor "k": found -Infinity at \[1\]/,
  );
  assert.throws(
    () => requireFinite(tensor([], NaN), "s.npy"),
    (error: Error) => error instanceof InputError && /found NaN at \[\]/.test(error.message),
  );
});
