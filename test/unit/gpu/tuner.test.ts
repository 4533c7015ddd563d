/** The tuner: every kernel tried, the fastest kept, no result changed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { suitingTileKernels } from "../../../engine/gpu/choice.ts";
import { Kernels } from "../../../engine/gpu/pipelines.ts";
import { Tuner } from "../../../engine/gpu/tuner.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { check } from "../../../engine/reference/check.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { testPlatform } from "../../platform.ts";
import { testGpu } from "../../gpu.ts";

const shape = { headDim: 64, q: "f32", kv: "f32" } as const;
const names = ["attend-shared", "attend"] as const;

test("each kernel is tried, then the fastest is kept, and a rate that falls is followed", () => {
  const tuner = new Tuner();
  const rates: Record<string, number> = { "attend-shared": 1e9, attend: 2e9 };
  const call = () => {
    const name = tuner.pick(shape, names, 1e9);
    tuner.saw(shape, name, 1e9, 1e9 / rates[name]);
    return name;
  };
  const tried = Array.from({ length: 4 }, call);
  assert.deepEqual([...new Set(tried)].sort(), ["attend", "attend-shared"]);
  for (let i = 0; i < 5; i++) assert.equal(call(), "attend");
  rates.attend = 0.5e9;
  for (let i = 0; i < 8; i++) call();
  assert.equal(call(), "attend-shared");
});

test("small calls try nothing and say nothing; head sizes are apart", () => {
  const tuner = new Tuner();
  for (let i = 0; i < 5; i++) {
    assert.equal(tuner.pick(shape, names, 1e6), "attend-shared");
    tuner.saw(shape, "attend", 1e6, 1e-9);
  }
  tuner.saw(shape, "attend", 1e9, 1);
  assert.equal(tuner.pick(shape, names, 1e6), "attend");
  assert.equal(tuner.pick({ ...shape, headDim: 128 }, names, 1e6), "attend-shared");
});

test("on a device: every call is exact, whichever kernel is tried", async () => {
  const { gpu, pool } = await testGpu();
  const kernels = new Kernels(gpu, await (await testPlatform()).shaders(), true, true);
  const [T, D] = [640, 64];
  const rows = (name: "q" | "k" | "v", heads: number) => seededRows(3, name, 0, T, heads * D);
  const input = {
    q: rows("q", 2),
    k: rows("k", 1),
    v: rows("v", 1),
    heads: 2,
    kvHeads: 1,
    headDim: D,
    sequences: [{ new: T, cached: 0 }],
    variant: "pass-kv" as const,
  };
  const used = new Set<string>();
  const candidates = suitingTileKernels(gpu, shape);
  for (let i = 0; i < 2 * candidates.length + 1; i++) {
    const devices: GpuAttention[] = [];
    const result = await attendInProcess(
      input,
      1,
      (s, recorder) => devices[devices.push(new GpuAttention(gpu, kernels, pool, s, recorder)) - 1],
    );
    assert.ok(check(input, result).passed);
    for (const d of devices) for (const name of d.used) used.add(name.split(":")[0]);
  }
  assert.deepEqual([...used].sort(), [...candidates].sort());
  await kernels.settled();
});
