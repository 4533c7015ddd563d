/**
 * Many keys: a tile's are divided into segments that are merged on the device, so that no loop is long enough for a
 * driver to cut it off.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { TILE_KERNELS } from "../../../engine/gpu/kernels.ts";
import { longestTile, segmentTiles, tilesOf } from "../../../engine/gpu/tiling.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { CAUSAL, type Mask, readMask, sayMask } from "../../../engine/layout/mask.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";

test("9,000 cached keys and more, a short sequence beside, each kind of mask, two ranks", async () => {
  const { gpu, kernels, pool } = await testGpu();
  const sequences = [{ new: 9, cached: 9000 }, { new: 5, cached: 3 }, { new: 3, cached: 4094 }];
  const { queries, keys } = shard(sequences, 1);
  const { views, bands: [band] } = visibility(queries[0], keys[0], CAUSAL);
  assert.equal(segmentTiles(tilesOf({ views, band, group: 2, tileRows: 32 })).length, 3);
  for (const mask of ["causal", "full", "window:4999+5"].map((text) => readMask(text)!)) {
    for (const ranks of [1, 2]) {
      const input = {
        ...experiment({ sequences, heads: 4, kvHeads: 2, headDim: 16 }),
        mask,
        variant: "pass-kv" as const,
      };
      const { out, lse, passed } = check(
        input,
        await attendInProcess(input, ranks, (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder)),
      );
      assert.ok(passed, `${sayMask(mask)}, ${ranks} ranks: out off by ${out.max}, lse by ${lse.max}`);
    }
  }
});

test("a window's tiles have no more keys than their rows see, and those that a row sees alone", () => {
  const [T, W, group] = [16_384, 1024, 2];
  const { queries, keys } = shard([{ new: T, cached: 0 }], 1);
  for (const [name, { tileRows }] of Object.entries(TILE_KERNELS)) {
    const tiles = (mask: Mask) => {
      const { views, bands: [band] } = visibility(queries[0], keys[0], mask);
      return tilesOf({ views, band, group, tileRows });
    };
    const local = tiles({ kind: "window", size: W });
    // Three keys before, because tiles begin at a multiple of 4.
    assert.ok(longestTile(local) <= W + tileRows / group + 3, name);
    const keysOf = (of: ReturnType<typeof tiles>) => of.reduce((sum, { first, end }) => sum + end - first, 0);
    assert.ok(keysOf(tiles(CAUSAL)) >= 7 * keysOf(local), `${name}: ${keysOf(tiles(CAUSAL)) / keysOf(local)}`);
  }
});

test("tiles without keys are left out of what has been written, and kept in what has not", () => {
  const { queries, keys } = shard([{ new: 64, cached: 0 }], 2, "contiguous");
  const { views, bands: [band] } = visibility(queries[1], keys[0], { kind: "window", size: 9 });
  const tiles = tilesOf({ views, band, group: 1, tileRows: 8 });
  assert.deepEqual(segmentTiles(tiles).map(({ count }) => count), [4]);
  assert.deepEqual(segmentTiles(tiles, 4096, false).map(({ count }) => count), [1]);
});
