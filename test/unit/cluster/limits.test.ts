/** An experiment that no rank could hold is refused before it starts, with limit, have, need and the largest T that fits. */
import assert from "node:assert/strict";
import test from "node:test";
import { type Footprint, requireFits } from "../../../engine/cluster/limits.ts";
import { LimitError } from "../../../engine/errors.ts";

const base: Footprint = { sequences: [{ new: 1000, cached: 0 }], ranks: 4, variant: "pass-kv", heads: 8, kvHeads: 2, headDim: 64, wireDtype: "f32" };

function refused(footprint: Footprint, limits: { maxStorageBufferBindingSize: number; maxBufferSize: number }): LimitError {
  try {
    requireFits(footprint, limits);
  } catch (error) {
    assert.ok(error instanceof LimitError);
    return error;
  }
  throw new Error("it was taken to fit");
}

test("what fits is taken", () => requireFits(base, { maxStorageBufferBindingSize: 250 * 8 * 64 * 4, maxBufferSize: 250 * 8 * 64 * 4 }));

test("T = 1,000 over 4 ranks: O of 250 rows x 8 x 64 f32 is 512,000 bytes; 400,000 hold 195 rows, T = 780", () => {
  const error = refused(base, { maxStorageBufferBindingSize: 400_000, maxBufferSize: 1e9 });
  assert.match(error.message, /maxStorageBufferBindingSize/);
  assert.deepEqual([error.have, error.need, error.largestT], [400_000, 512_000, 780]);
});

test("pass-Q stacks the partials of all ranks", () => {
  assert.equal(refused({ ...base, variant: "pass-q" }, { maxStorageBufferBindingSize: 1e9, maxBufferSize: 1_000_000 }).need, 4 * 512_000);
});

test("cached tokens alone may be too many: then no T fits", () => {
  const error = refused({ ...base, sequences: [{ new: 4, cached: 1_000_000 }] }, { maxStorageBufferBindingSize: 1e6, maxBufferSize: 1e6 });
  assert.equal(error.largestT, 0);
});
