/**
 * Many keys: a tile's are divided into segments that are merged on the device, so that no loop is long enough for a
 * driver to cut it off.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { segmentTiles, tilesOf } from "../../../engine/gpu/tiling.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { CAUSAL } from "../../../engine/layout/mask.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";

test("9,000 cached keys and more, a short sequence beside, causal and full, two ranks", async () => {
  const { gpu, kernels, pool } = await testGpu();
  const sequences = [{ new: 9, cached: 9000 }, { new: 5, cached: 3 }, { new: 3, cached: 4094 }];
  const { queries, keys } = shard(sequences, 1);
  const { views, bands: [band] } = visibility(queries[0], keys[0], CAUSAL);
  assert.equal(segmentTiles(tilesOf({ views, band, group: 2, tileRows: 32 })).length, 3);
  for (const causal of [true, false]) {
    for (const ranks of [1, 2]) {
      const input = {
        ...experiment({ sequences, heads: 4, kvHeads: 2, headDim: 16 }),
        causal,
        variant: "pass-kv" as const,
      };
      const { out, lse, passed } = check(
        input,
        await attendInProcess(input, ranks, (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder)),
      );
      assert.ok(passed, `causal ${causal}, ${ranks} ranks: out off by ${out.max}, lse by ${lse.max}`);
    }
  }
});
