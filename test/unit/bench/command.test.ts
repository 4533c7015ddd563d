/** `ringside bench` on this adapter: its document, its checks, its errors. */
import assert from "node:assert/strict";
import test from "node:test";
import { bench } from "../../../engine/cli/bench.ts";
import type { BenchDocument } from "../../../engine/bench/document.ts";
import type { Repeats } from "../../../engine/bench/stats.ts";
import { InputError } from "../../../engine/errors.ts";
import { suitingPieceKernels, suitingTileKernels } from "../../../engine/gpu/choice.ts";
import { call, platform, runtime } from "../cli/command.ts";
import { testGpu } from "../../gpu.ts";
import { thorough } from "../../tiers.ts";

const positive = (x: number, what: string) => assert.ok(Number.isFinite(x) && x > 0, `${what}: ${x}`);
const measured = (r: Repeats, count: number, what: string) => {
  assert.equal(r.all.length, count, what);
  for (const x of [r.min, r.median, r.max]) positive(x, what);
};

test("bench --json: every kernel that suits is checked and measured, beside the ceilings", thorough, async () => {
  const { status, stdout, stderr } = await call(bench, ["--json", "--sizes", "64", "--repeats", "1"]);
  assert.deepEqual([status, stderr], [0, ""]);
  const d = JSON.parse(stdout) as BenchDocument;
  const { gpu } = await testGpu();
  const shape = { headDim: 128, q: "f32", kv: "f32" } as const;
  const tiles = suitingTileKernels(gpu, shape, Infinity);
  const pieces = suitingPieceKernels(gpu, shape);
  assert.deepEqual([d.runtime, d.sizes, d.repeats, d.passed, d.adapter.name, d.peers], [
    runtime,
    [64],
    1,
    true,
    gpu.facts.name,
    [],
  ]);
  assert.ok(!Number.isNaN(Date.parse(d.date)));
  assert.equal(d.notes.some((note) => note.startsWith("a software adapter")), d.adapter.software);

  assert.deepEqual(d.checks.map((c) => c.kernel), [...tiles, ...pieces]);
  for (const c of d.checks) {
    assert.deepEqual([c.passed, c.failed], [true, []]);
    assert.ok(c.cases >= 4 && c.compile.length === 2);
  }

  positive(d.ceilings!.f32.flopsPerSecond, "f32 ceiling");
  assert.equal(d.ceilings!.f32.flopsPerSecond, Math.max(d.ceilings!.f32.dot.max, d.ceilings!.f32.fma.max));
  assert.equal(d.ceilings!.f16 !== undefined, d.adapter.features.includes("shader-f16"));
  for (const r of [d.ceilings!.copy.kernel, d.ceilings!.copy.command]) measured(r, r.all.length, "copy");

  const of = (mask: string) => d.kernels.filter((k) => k.shape.mask === mask);
  for (const mask of ["full", "causal", "partial"]) {
    assert.deepEqual(of(mask).map((k) => k.kernel), [...tiles, ...tiles], mask);
  }
  assert.deepEqual(
    of("decode").map((k) => [k.kernel, k.chosen, k.shape.cached]),
    [...pieces, ...pieces].map((name) => [name, name === pieces[0], 1023]),
  );
  for (const k of d.kernels) {
    measured(k.seconds, 1, k.name);
    measured(k.wallSeconds, 1, k.name);
    assert.equal(k.flopsPerSecond, k.flops / k.seconds.median);
    assert.equal(k.ofMultiplyAdd, k.flopsPerSecond / d.ceilings!.f32.flopsPerSecond);
  }
  assert.deepEqual([...new Set(d.kernels.map((k) => `${k.shape.heads}/${k.shape.kvHeads} ${k.shape.headDim}`))], [
    "8/1 128",
    "8/2 64",
  ]);

  assert.deepEqual(d.merge.map((m) => m.parts), [2, 8]);
  for (const m of d.merge) positive(m.bytesPerSecond, "merge");
  assert.deepEqual(d.ring.map((r) => `${r.ranks} ${r.variant}`), [
    "1 pass-kv",
    "2 pass-kv",
    "2 pass-q",
    "4 pass-kv",
    "4 pass-q",
    "8 pass-kv",
    "8 pass-q",
  ]);
  for (const r of d.ring) {
    positive(r.ofSingleCall, "ring");
    assert.equal(r.mergeShare > 0, r.variant === "pass-q", `${r.ranks} ${r.variant}`);
  }
});

test("--only reach: memory that grows with T and time with its square, rows checked", thorough, async () => {
  const { status, stdout } = await call(bench, ["--json", "--only", "reach", "--sizes", "512,1024"]);
  const d = JSON.parse(stdout) as BenchDocument;
  assert.deepEqual([status, d.passed, d.kernels, d.ring], [0, true, [], []]);
  const [a, b] = d.reach!;
  assert.deepEqual([a.tokens, b.tokens], [512, 1024]);
  for (const r of [a, b]) {
    positive(r.seconds, "reach");
    assert.ok(r.passed && r.maxError < 2e-6, `${r.maxError}`);
  }
  assert.ok(b.bytes > 1.5 * a.bytes && b.bytes < 2.5 * a.bytes, `${a.bytes}, ${b.bytes}`);
});

test("a kernel that computes something else: status 1, the case named, not one figure", thorough, async () => {
  const wrong = {
    ...platform,
    shaders: async () => ({
      ...(await platform.shaders()),
      decode: (await platform.shaders()).decode.replace("0.6931471805599453", "0.6831471805599453"),
    }),
  };
  const { status, stdout } = await call(bench, ["--json", "--sizes", "64", "--repeats", "1"], { platform: wrong });
  const d = JSON.parse(stdout) as BenchDocument;
  assert.deepEqual([status, d.passed, d.ceilings, d.kernels, d.merge, d.ring], [1, false, null, [], [], []]);
  assert.match(
    d.checks.find((c) => c.kernel === "decode")!.failed[0],
    /^T:P 1:599, causal, heads 8\/1, D 128, N 1: out off by /,
  );
  assert.ok(d.checks.filter((c) => c.kernel !== "decode").every((c) => c.passed));
});

test("bad input is refused before anything is opened", async () => {
  for (
    const [argv, says] of [
      [["--sizes", "64,x"], /^--sizes: found "x", expected whole numbers from 16 to 131072/],
      [["--sizes", "8"], /^--sizes: found "8"/],
      [["--repeats", "0"], /^--repeats: found "0"/],
      [["--backend", "cpu"], /^--backend: found "cpu", expected webgpu$/],
      [
        ["--only", "kernels,rings"],
        /^--only: found "rings", expected kernels or merge or ring or reach or peers; did you mean ring\?$/,
      ],
      [["--speed"], /^Unknown option '--speed'/],
    ] as const
  ) {
    await assert.rejects(
      call(bench, argv, { platform: { ...platform, threadGpu: () => assert.fail("opened") } }),
      (error: Error) => error instanceof InputError && says.test(error.message),
      argv.join(" "),
    );
  }
  const { threadGpu: _, ...without } = platform;
  await assert.rejects(call(bench, [], { platform: without }), InputError);
});

test("--help", async () => {
  const { status, stdout } = await call(bench, ["--help"]);
  assert.equal(status, 0);
  for (const option of ["--sizes", "--repeats", "--peers", "--only", "--json", "--backend", "--runtime"]) {
    assert.ok(stdout.includes(option), option);
  }
});
