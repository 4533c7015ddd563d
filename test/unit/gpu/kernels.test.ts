/** Which kernel a device and a mask get. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  candidateKernels,
  chooseKernel,
  pieceKernelsOf,
  suitingTileKernels,
  tileKernelsOf,
} from "../../../engine/gpu/choice.ts";
import {
  isPieceKernel,
  kernelName,
  PIECE_KERNELS,
  TILE_KERNELS,
  type TileKernelName,
} from "../../../engine/gpu/kernels.ts";
import { Kernels } from "../../../engine/gpu/pipelines.ts";
import { shaderUrls } from "../../../engine/gpu/shaders.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { CAUSAL } from "../../../engine/layout/mask.ts";
import { testGpu } from "../../gpu.ts";
import { testPlatform } from "../../platform.ts";

const device = (subgroupSize: number | undefined, software: boolean, matrices = false) => ({
  subgroupSize,
  leastSubgroup: subgroupSize,
  workgroupMemory: 32768,
  matrices,
  facts: { software },
});
const single = { headDim: 64, q: "f32", kv: "f32" } as const;

const seen = (sequences: readonly { new: number; cached: number }[]) => {
  const { queries, keys } = shard(sequences, 1);
  return visibility(queries[0], keys[0], CAUSAL);
};

test("many query rows: the kernel made for the device, else the general one", () => {
  const many = seen([{ new: 8, cached: 5 }]);
  assert.equal(chooseKernel({ seen: many, device: device(4, true), shape: single }), "attend-subgroup4");
  assert.equal(chooseKernel({ seen: many, device: device(undefined, true), shape: single }), "attend-lanes");
  assert.equal(chooseKernel({ seen: many, device: device(8, true), shape: single }), "attend-lanes");
  for (const size of [undefined, 8, 16, 32, 64, 128]) {
    assert.equal(
      chooseKernel({ seen: many, device: device(size, false), shape: single }),
      "attend-shared",
      `subgroups of ${size}`,
    );
  }
  assert.equal(
    chooseKernel({ seen: many, device: { ...device(32, false), workgroupMemory: 16384 }, shape: single }),
    "attend",
  );
});

test("other head sizes of values, V in K and D above 256: the general kernel alone, for single rows too", () => {
  const shapes = [{ ...single, valueDim: 32 }, { ...single, valuesInKeys: true }, { ...single, headDim: 576 }];
  for (const shape of shapes) {
    for (const own of [device(4, true), device(undefined, true), device(32, false, true)]) {
      assert.deepEqual(tileKernelsOf(own, shape), ["attend"]);
      assert.deepEqual(pieceKernelsOf(own, shape), []);
      assert.equal(chooseKernel({ seen: seen([{ new: 1, cached: 90 }]), device: own, shape }), "attend");
    }
  }
});

test("eight rows a lane: where subgroups have four lanes, and the work is worth its compilation", () => {
  const many = seen([{ new: 8, cached: 5 }]);
  assert.equal(chooseKernel({ seen: many, device: device(4, true), shape: single, work: 1e10 }), "attend-subgroup4");
  assert.equal(
    chooseKernel({ seen: many, device: device(4, true), shape: single, work: 1e11 }),
    "attend-subgroup4-rows8",
  );
  assert.deepEqual(suitingTileKernels(device(4, true), single, 1e11).slice(0, 2), [
    "attend-subgroup4-rows8",
    "attend-subgroup4",
  ]);
  assert.equal(chooseKernel({ seen: many, device: device(8, true), shape: single, work: 1e11 }), "attend-lanes");
  assert.equal(chooseKernel({ seen: many, device: device(32, false), shape: single, work: 1e11 }), "attend-shared");
});

test("overrides and tries: `only` before all, a given text before tries, tries before what was prepared", () => {
  const many = { seen: seen([{ new: 8, cached: 5 }]), device: device(32, false), shape: single, flops: 1e9 };
  const one = { ...many, seen: seen([{ new: 1, cached: 5 }]) };
  const tuner = { pick: (_: unknown, candidates: readonly TileKernelName[]) => candidates.at(-1)! };
  assert.deepEqual(candidateKernels(many), ["attend-shared"]);
  assert.deepEqual(candidateKernels({ ...many, tuner }), ["attend-shared", "attend"]);
  assert.equal(chooseKernel({ ...many, tuner }), "attend");
  assert.equal(chooseKernel({ ...many, prepared: "attend" }), "attend");
  assert.equal(chooseKernel({ ...many, prepared: "attend-shared", tuner }), "attend");
  assert.equal(chooseKernel({ ...many, given: ["attend-lanes"], prepared: "attend-lanes" }), "attend-lanes");
  // Single rows gain nothing by a kernel of many, whatever was prepared or is tried.
  assert.equal(chooseKernel({ ...one, prepared: "attend", tuner }), "decode-subgroups");
  for (const call of [many, one]) {
    assert.equal(chooseKernel({ ...call, only: "attend-lanes", given: ["attend"], tuner }), "attend-lanes");
    assert.equal(chooseKernel({ ...call, only: "decode", prepared: "attend", tuner }), "decode");
  }
});

test("a device's work is counted by head size and types", async () => {
  const { gpu } = await testGpu();
  const kernels = new Kernels(gpu, await (await testPlatform()).shaders());
  assert.equal(kernels.count(single, 1e10), 1e10);
  assert.equal(kernels.count({ ...single, group: 8 }, 2e10), 3e10);
  assert.equal(kernels.count({ ...single, headDim: 128 }, 1), 1);
});

test("matrix units: for f16 keys and values, and head sizes of whole matrices that fit; never chosen", () => {
  const many = seen([{ new: 8, cached: 5 }]);
  const able = (headDim: number, kv: "f32" | "f16" | "bf16", matrices = true) =>
    tileKernelsOf(device(32, false, matrices), { headDim, q: "f32", kv }).includes("attend-matrix");
  for (const D of [16, 64, 80, 128]) assert.ok(able(D, "f16"), `D ${D}`);
  for (const D of [20, 72, 144, 256]) assert.ok(!able(D, "f16"), `D ${D}`);
  for (const kv of ["f32", "bf16"] as const) assert.ok(!able(64, kv), kv);
  assert.ok(!able(64, "f16", false));
  assert.equal(
    chooseKernel({ seen: many, device: device(32, false, true), shape: { headDim: 64, q: "f32", kv: "f16" } }),
    "attend-shared",
  );
  assert.deepEqual(suitingTileKernels(device(32, false, true), { headDim: 64, q: "f32", kv: "f16" }), [
    "attend-shared",
    "attend",
  ]);
});

test("single query rows: split-KV on every device", () => {
  for (
    const [d, name] of [[device(4, true), "decode-subgroup4"], [device(32, false), "decode-subgroups"], [
      device(4, false),
      "decode-subgroup4",
    ], [device(undefined, false), "decode"]] as const
  ) {
    assert.equal(chooseKernel({ seen: seen([{ new: 1, cached: 9 }]), device: d, shape: single }), name);
    assert.equal(
      chooseKernel({ seen: seen([{ new: 1, cached: 9 }, { new: 1, cached: 0 }]), device: d, shape: single }),
      name,
    );
    assert.ok(
      !isPieceKernel(
        chooseKernel({ seen: seen([{ new: 1, cached: 9 }, { new: 2, cached: 0 }]), device: d, shape: single }),
      ),
    );
  }
});

test("every kernel of the table has its text, and the last row suits every device", () => {
  for (const name of [...Object.keys(TILE_KERNELS), ...Object.keys(PIECE_KERNELS)]) assert.ok(name in shaderUrls, name);
  const last = Object.values(TILE_KERNELS).at(-1)!;
  assert.ok(last.suits(device(undefined, false), 0) && last.suits(device(4, true), 0));
});

test("decode is compiled for fours of heads as the group needs them", () => {
  const shape = { headDim: 64, q: "f32", kv: "f32" } as const;
  assert.match(kernelName("decode", { ...shape, group: 3 }), /4 heads/);
  assert.match(kernelName("decode", { ...shape, group: 5 }), /8 heads/);
  assert.match(kernelName("decode", { ...shape, group: 16 }), /8 heads/);
});
