/** Which kernel a device and a mask get. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseKernel, kernelName, TILE_KERNELS } from "../../../engine/gpu/kernels.ts";
import { shaderUrls } from "../../../engine/gpu/shaders.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";

const device = (subgroupSize: number | undefined, software: boolean) => ({ subgroupSize, facts: { software } });

const seen = (sequences: readonly { new: number; cached: number }[]) => {
  const { queries, keys } = shard(sequences, 1);
  return visibility(queries[0], keys[0], true);
};

test("many query rows: the kernel made for the device, else the general one", () => {
  const many = seen([{ new: 8, cached: 5 }]);
  assert.equal(chooseKernel(many, device(4, true)), "attend-subgroup4");
  assert.equal(chooseKernel(many, device(undefined, true)), "attend-lanes");
  assert.equal(chooseKernel(many, device(8, true)), "attend-lanes");
  for (const size of [undefined, 8, 16, 32, 64, 128]) assert.equal(chooseKernel(many, device(size, false)), "attend-shared", `subgroups of ${size}`);
});

test("single query rows: split-KV on every device", () => {
  for (const d of [device(4, true), device(32, false), device(undefined, false)]) {
    assert.equal(chooseKernel(seen([{ new: 1, cached: 9 }]), d), "decode");
    assert.equal(chooseKernel(seen([{ new: 1, cached: 9 }, { new: 1, cached: 0 }]), d), "decode");
    assert.notEqual(chooseKernel(seen([{ new: 1, cached: 9 }, { new: 2, cached: 0 }]), d), "decode");
  }
});

test("every kernel of the table has its text, and the last row suits every device", () => {
  for (const name of Object.keys(TILE_KERNELS)) assert.ok(name in shaderUrls, name);
  const last = Object.values(TILE_KERNELS).at(-1)!;
  assert.ok(last.suits(device(undefined, false)) && last.suits(device(4, true)));
});

test("decode is compiled for fours of heads as the group needs them", () => {
  const shape = { headDim: 64, q: "f32", kv: "f32" } as const;
  assert.match(kernelName("decode", { ...shape, group: 3 }), /4 heads/);
  assert.match(kernelName("decode", { ...shape, group: 5 }), /8 heads/);
  assert.match(kernelName("decode", { ...shape, group: 16 }), /8 heads/);
});
