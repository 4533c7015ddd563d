/**
 * attend-matrix.wgsl, which no adapter of these tests can run. Dawn's compiler takes its text, and the device computes
 * its arithmetic with the products written out.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { checkCase, type GridCase, TILES } from "../../../engine/bench/grid.ts";
import { readMicroShaders } from "../../../engine/bench/micro.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { TILE_KERNELS } from "../../../engine/gpu/kernels.ts";
import { Kernels } from "../../../engine/gpu/pipelines.ts";
import { specialise } from "../../../engine/gpu/specialise.ts";
import { readShaders } from "../../../engine/gpu/shaders.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";
import { writtenOut } from "./matrix.ts";
import { thorough } from "../../tiers.ts";

const read = (url: URL) => readFile(url, "utf8");
const shaders = await readShaders(read);
const text = shaders["attend-matrix"];

/** The device with the kernel written out, `from` in its text replaced. */
async function bench(from = "", to = "") {
  const { gpu, pool } = await testGpu();
  assert.ok(text.includes(from), `the kernel has no ${from}`);
  return { gpu, pool, kernels: new Kernels(gpu, { ...shaders, "attend-matrix": writtenOut(text.replace(from, to)) }) };
}

const f16 = { dtype: "f16", variant: "pass-kv" } as const;
const at = (heads: number, kvHeads: number, headDim: number, c: (typeof TILES)[number]): GridCase => ({
  heads,
  kvHeads,
  headDim,
  ...c,
  wire: f16,
});

test(
  "written out, it passes the grid: ragged lengths, both masks, cached keys, a batch on three ranks",
  thorough,
  async () => {
    const own = await bench();
    const cases = [
      ...TILES.map((c) => at(4, 2, 16, c)),
      at(8, 1, 64, TILES.at(-1)!),
      at(8, 1, 128, TILES[2]),
      at(3, 3, 80, TILES[0]),
    ];
    for (const c of cases) {
      const { passed, label, out, lse } = await checkCase(own, "attend-matrix", c, new Map());
      assert.ok(passed, `${label}: out off by ${out.max}, lse by ${lse.max}`);
    }
  },
);

/**
 * Scores that rise along the keys make the maximum move, far ones past LAZY; queries are larger than any f16, as exact
 * in it as what the scale makes of them.
 */
function rising() {
  const headDim = 16;
  const input = experiment({ sequences: [{ new: 70, cached: 30 }], heads: 2, kvHeads: 1, headDim });
  const k = input.k.map((x, i) => Math.floor(i / headDim) / 8 + x / 16);
  const q = input.q.map((x) => Math.abs(Math.round(x * 64) / 64) * 2 ** 20);
  return { ...input, q, k, scale: 2 ** -22, variant: "pass-kv" as const, wireDtype: "f16" as const };
}

async function held(from?: string, to?: string): Promise<boolean> {
  const { gpu, pool, kernels } = await bench(from, to);
  const input = rising();
  const result = await attendInProcess(
    input,
    2,
    (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder, "attend-matrix"),
  );
  return check({ ...input, products: "f16" }, result).passed;
}

test("maxima that move far, and queries that no f16 holds", thorough, async () => {
  assert.ok(await held());
  assert.ok(
    !(await held("scores[row * SCORE + c] *= alpha", "scores[row * SCORE + c] *= 1.0")),
    "O that is not rescaled passes",
  );
  assert.ok(!(await held("sum *= alpha;", "")), "a sum that is not rescaled passes");
  assert.ok(
    !(await held("let magnitude = ", "let magnitude = 1.0; let ignored = ")),
    "queries beyond f16 pass as they are",
  );
});

/** Dawn without a driver, which compiles and computes nothing; kept as long as its device lives. */
let dawn: GPU | undefined;

test("Dawn's compiler takes it, and its ceiling, for every head size that it is for", async () => {
  if ("Deno" in globalThis) return; // wgpu knows no subgroup matrices: the same texts are given to Dawn in Node
  dawn = (await import("webgpu")).create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await dawn.requestAdapter())!;
  const device = await adapter.requestDevice({
    requiredFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix" as GPUFeatureName],
  });
  const messages = async (code: string) =>
    (await device.createShaderModule({ code }).getCompilationInfo()).messages.map(({ lineNum, message }) =>
      `${lineNum}: ${message}`
    );
  for (const headDim of [16, 64, 80, 128]) {
    for (const q of ["f32", "f16"] as const) {
      assert.ok(TILE_KERNELS["attend-matrix"].takes({ headDim, q, kv: "f16" }));
      assert.deepEqual(await messages(specialise(text, { headDim, q, kv: "f16" })), []);
    }
  }
  assert.deepEqual(await messages((await readMicroShaders(read)).matrix), []);
  device.pushErrorScope("validation");
  assert.notDeepEqual(await messages(text.replace("col_major", "no_major")), []);
  await device.popErrorScope();
  device.destroy();
});
