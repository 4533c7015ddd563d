/**
 * What only GPUs do, on this adapter as if it were one: unrolled loops, few tiles spread over their keys, many pieces
 * merged by many invocations.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { checkCase, type GridCase } from "../../../engine/bench/grid.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { CAUSAL, type Mask } from "../../../engine/layout/mask.ts";
import { spreadOf } from "../../../engine/gpu/tiling.ts";
import { chooseMerge, pieceKernelsOf } from "../../../engine/gpu/choice.ts";
import type { KernelName, MergeKernelName } from "../../../engine/gpu/kernels.ts";
import { Kernels } from "../../../engine/gpu/pipelines.ts";
import { unrolled } from "../../../engine/gpu/unroll.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";
import { testPlatform } from "../../platform.ts";
import { thorough } from "../../tiers.ts";

/** The adapter of the tests, taken for a GPU. */
async function asHardware() {
  const { gpu: own, pool } = await testGpu();
  const gpu = { ...own, facts: { ...own.facts, software: false } };
  return { gpu, pool, kernels: new Kernels(gpu, await (await testPlatform()).shaders()) };
}

async function passes(kernel: KernelName | MergeKernelName | undefined, cases: readonly GridCase[]): Promise<void> {
  const bench = await asHardware();
  for (const c of cases) {
    const { passed, label, out, lse, merged } = await checkCase(bench, kernel, c, new Map());
    assert.ok(passed, `${label}: out off by ${out.max}, lse by ${lse.max}`);
    assert.ok(merged, `${label}: nothing was merged`);
  }
}

test("few tiles: parts of the keys in parallel, rows that see no key of a part, one rank and three, merged", async () => {
  const heads = { heads: 4, kvHeads: 2, headDim: 16 };
  await passes("attend", [
    { ...heads, sequences: [{ new: 30, cached: 1100 }], mask: CAUSAL, ranks: 1 },
    { ...heads, sequences: [{ new: 700, cached: 0 }], mask: CAUSAL, ranks: 1 },
    { ...heads, sequences: [{ new: 70, cached: 1100 }], mask: { kind: "window", size: 701 }, ranks: 1 },
    { ...heads, sequences: [{ new: 500, cached: 300 }], mask: { kind: "chunk", size: 533 }, ranks: 1 },
    {
      ...heads,
      sequences: [{ new: 9, cached: 3 }, { new: 1, cached: 600 }, { new: 2, cached: 0 }],
      mask: CAUSAL,
      ranks: 1,
    },
    {
      ...heads,
      sequences: [{ new: 30, cached: 1800 }],
      mask: CAUSAL,
      ranks: 3,
      wire: { dtype: "f32", variant: "pass-kv" },
    },
  ]);
});

test("how far a GPU's work is spread", () => {
  assert.equal(spreadOf(256, 1e6), 1);
  assert.equal(spreadOf(1, 1e6), 8);
  assert.equal(spreadOf(100, 1e6), 3);
  assert.equal(spreadOf(1, 600), 2);
  assert.equal(spreadOf(1, 200), 1);
  assert.equal(spreadOf(0, 0), 1);
});

test("the kernel of GPUs with its loops written out", thorough, async () => {
  const bench = await asHardware();
  const input = experiment({ sequences: [{ new: 70, cached: 30 }], heads: 2, kvHeads: 1, headDim: 36 });
  const result = await attendInProcess(
    { ...input, variant: "pass-kv" },
    1,
    (shape, recorder) => new GpuAttention(bench.gpu, bench.kernels, bench.pool, shape, recorder, "attend-shared"),
  );
  assert.ok(check(input, result).passed);
});

test(
  "decode in subgroups of any size: one piece and several, empty ones, more heads than a workgroup has",
  thorough,
  async () => {
    const bench = await asHardware();
    const able = (headDim: number) =>
      pieceKernelsOf(bench.gpu, { headDim, q: "f32", kv: "f32" }).includes("decode-subgroups");
    const least = bench.gpu.leastSubgroup ?? 0;
    assert.deepEqual(
      [16, 32, 36, 64, 68, 128, 132, 256].map(able),
      [1, 2, 4, 4, 8, 8, 16, 16].map((lanes) => least >= lanes),
    );
    const single = (heads: number, kvHeads: number, headDim: number, mask: Mask = CAUSAL): GridCase => ({
      heads,
      kvHeads,
      headDim,
      sequences: [{ new: 1, cached: 599 }, { new: 1, cached: 0 }, { new: 1, cached: 41 }],
      mask,
      ranks: 2,
    });
    const cases = [
      single(8, 1, 64),
      single(3, 3, 16),
      single(3, 3, 16, { kind: "window", size: 401, sinkTokens: 5 }),
      single(3, 3, 16, { kind: "chunk", size: 23 }),
      single(12, 1, 32),
      single(4, 2, 60),
      single(8, 1, 128),
    ].filter(({ headDim }) => able(headDim));
    for (const c of cases) {
      const { passed, label, out, lse } = await checkCase(bench, "decode-subgroups", c, new Map());
      assert.ok(passed, `${label}: out off by ${out.max}, lse by ${lse.max}`);
    }
  },
);

test("many parts of few rows: merged by many", async () => {
  const { gpu } = await asHardware();
  assert.equal(chooseMerge({ device: gpu, parts: 9, rows: 8, columns: 32 }), "merge-parts");
  assert.equal(chooseMerge({ device: gpu, parts: 8, rows: 8, columns: 32 }), "merge");
  assert.equal(chooseMerge({ device: gpu, parts: 9, rows: 8192, columns: 32 }), "merge");
  assert.equal(chooseMerge({ device: { ...gpu, facts: { software: true } }, parts: 9, rows: 8, columns: 32 }), "merge");
  const heads = { heads: 4, kvHeads: 2, headDim: 36 };
  await passes("merge-parts", [
    { ...heads, sequences: [{ new: 1, cached: 1500 }, { new: 1, cached: 2 }], mask: CAUSAL, ranks: 1 },
    { ...heads, sequences: [{ new: 1, cached: 0 }, { new: 0, cached: 5 }], mask: CAUSAL, ranks: 8 },
  ]);
});

test("loops are written out: nested, with bounds from constants, lines keeping their numbers", async () => {
  const text = `const D: u32 = 32u; // specialise
const N: u32 = (D + 7u) / 16u;
fn f() {
  for (var i: u32 = 0u; i < N; i++) { // unroll
    a[i] = i; // once
    for (var j: u32 = 0u; j < 2u; j++) { // unroll
      b[j] += i;
    }
  }
  g();
}
`;
  const out = unrolled(text);
  assert.equal(out.split("\n").length, text.split("\n").length);
  assert.equal(out.split("\n")[9], "  g();");
  const first = "{ a[0u] = 0u; // once { b[0u] += 0u; } { b[1u] += 0u; } }";
  const second = "{ a[1u] = 1u; { b[0u] += 1u; } { b[1u] += 1u; } }";
  assert.ok(out.replace(/\s+/g, " ").includes(`${first} ${second}`), out);
  assert.throws(() => unrolled("for (var i: u32 = 0u; i < n; i++) { // unroll\n}"), /unroll: found the bound n/);
  assert.equal(unrolled("for (var i: u32 = 0u; i < n; i++) {\n}"), "for (var i: u32 = 0u; i < n; i++) {\n}");
  for (const [name, shader] of Object.entries(await (await testPlatform()).shaders())) {
    assert.doesNotMatch(unrolled(shader).replace(/^\/\/.*$/gm, ""), /\/\/ unroll$/m, name);
  }
});
