/** If an experiment exceeds a device limit, the error names the limit, have, need, and the largest T that fits. */
import { CAUSAL } from "../../../engine/layout/mask.ts";
import assert from "node:assert/strict";
import test from "node:test";
import { InputError, LimitError } from "../../../engine/errors.ts";
import { requireStorage } from "../../../engine/gpu/device.ts";
import type { DeviceLimits } from "../../../engine/gpu/facts.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { block } from "../../../engine/layout/shards.ts";
import { rankChunk } from "../../../engine/ring/chunk.ts";
import { Recorder } from "../../../engine/trace/clock.ts";
import { testGpu } from "../../gpu.ts";

const limits = (maxStorageBufferBindingSize: number, maxBufferSize: number): DeviceLimits => ({
  maxStorageBufferBindingSize,
  maxBufferSize,
});

test("either limit is named with what there is, what is needed, and what would fit", () => {
  requireStorage(limits(1000, 1000), 1000, () => 0);
  for (
    const [small, limit] of [[limits(500, 1000), /maxStorageBufferBindingSize/], [
      limits(1000, 500),
      /maxBufferSize/,
    ]] as const
  ) {
    assert.throws(() => requireStorage(small, 800, (have) => have / 100), (error) => {
      assert.ok(error instanceof LimitError && error instanceof InputError);
      assert.match(error.message, limit);
      assert.match(
        error.message,
        /has 500, this experiment needs 800; the largest T of this shape that would fit is 5/,
      );
      return true;
    });
  }
});

test("attention refuses a chunk that a smaller device can't hold", async () => {
  const { gpu, kernels, pool } = await testGpu();
  const attention = new GpuAttention({ ...gpu, limits: limits(4096, 4096) }, kernels, pool, {
    heads: 4,
    kvHeads: 1,
    headDim: 16,
    scale: 1,
    valueDim: 16,
    valuesInKeys: false,
    mask: CAUSAL,
    q: "f32",
    kv: "f32",
  }, new Recorder(0, 0));
  const rows = 100;
  assert.throws(
    () =>
      attention.loadQueries(rankChunk(0, block([[{ start: 0, end: rows }]]), new ArrayBuffer(rows * 4 * 16 * 4)), 0),
    /has 4096, this experiment needs 25600; the largest T of this shape that would fit is 16/,
  );
  attention.dispose(false);
});
