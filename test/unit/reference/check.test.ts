/**
 * The check: right results pass at every size of scores and values, on every path. Planted faults fail. The wire's part of
 * the bound is what rounding did to the values.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import { attendInProcess, type FixedInput } from "../../../engine/cluster/in-process.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import type { Shape } from "../../../engine/ring/chunk.ts";
import type { Device } from "../../../engine/rank/run.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { check, checkAsync, type CheckInput, expect } from "../../../engine/reference/check.ts";
import { fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import type { Recorder } from "../../../engine/trace/clock.ts";
import { testGpu } from "../../gpu.ts";
import { FAULTS } from "./planted.ts";

/** Numbers of a normal distribution, from a seed. */
function normal(seed: number, n: number, spread = 1): Float32Array {
  let state = seed;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  for (let i = 0; i < 10; i++) uniform();
  return Float32Array.from(
    { length: n },
    () => spread * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** Scores of standard deviation `scores`, values of `values`; `make` the numbers. */
function input(
  scores: number,
  values: number,
  {
    T = 40,
    P = 56,
    H = 4,
    Hkv = 2,
    D = 64,
    make = normal as (seed: number, n: number, spread: number) => Float32Array,
  } = {},
): FixedInput {
  const s = Math.sqrt(scores);
  return {
    q: make(1, T * H * D, s),
    k: make(2, (T + P) * Hkv * D, s),
    v: normal(3, (T + P) * Hkv * D, values),
    heads: H,
    kvHeads: Hkv,
    headDim: D,
    sequences: [{ new: T, cached: P }],
  };
}

// deno-lint-ignore no-explicit-any -- a device's own handles do not matter here
type Open = (shape: Shape, recorder: Recorder) => Device<any, any, any>;

const SIZES = [[1, 1], [1, 1e-3], [1, 1e3], [30, 1], [1000, 1e-3], [1e4, 1], [1e4, 1e3]] as const;

async function holds(name: string, open: Open, sizes: readonly (readonly [number, number])[] = SIZES): Promise<void> {
  for (const [scores, values] of sizes) {
    for (
      const [variant, ranks, wireDtype] of [
        ["pass-kv", 1, "f32"],
        ["pass-kv", 4, "f32"],
        ["pass-q", 4, "f32"],
        ["pass-kv", 4, "bf16"],
        ["pass-q", 4, "bf16"],
        ["pass-kv", 4, "f16"],
        ["pass-q", 4, "f16"],
      ] as const
    ) {
      const one = { ...input(scores, values), variant, wireDtype };
      const { out, lse, passed } = check({ ...one, ranks }, await attendInProcess(one, ranks, open));
      const what = `${name}, scores ${scores}, values ${values}, ${variant}, N ${ranks}, ${wireDtype}`;
      assert.ok(passed, `${what}: ${JSON.stringify([out, lse])}`);
      // But not by far: a bound that no result comes near would let faults pass.
      assert.ok(
        Math.max(out.worst.share, lse.worst.share) > 0.002,
        `${what}: uses ${out.worst.share} and ${lse.worst.share} of its bounds`,
      );
    }
  }
}

const cpu: Open = (shape, recorder) => new CpuAttention(shape, recorder);

test("right results pass on the plain back-end: scores of 1 to 1e4, values of 1e-3 to 1e3, both variants, each wire", async () =>
  await holds("cpu", cpu));

test("and on the adapter at hand", async () => {
  const { gpu, kernels, pool } = await testGpu();
  await holds("gpu", (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder));
});

test("sums whose roundings have one direction pass: constant, positive and repeated rows, added one after the other in f32", () => {
  const makes = {
    constant: (_: number, n: number, spread: number) => new Float32Array(n).fill(1.2345678 * spread),
    positive: (seed: number, n: number, spread: number) => normal(seed, n, spread).map(Math.abs),
    repeated: (seed: number, n: number, spread: number) => normal(seed, n, spread).map((_, i, all) => all[i % 256]),
  };
  for (const [name, make] of Object.entries(makes)) {
    for (const D of [16, 64, 256]) {
      for (const scores of [1, 30, 1e4]) {
        const one = input(scores, 1, { D, T: 24, P: 24, H: 1, Hkv: 1, make });
        const { out, lse, passed } = check({ ...one, ranks: 1 }, plainF32(one));
        assert.ok(passed, `${name}, D ${D}, scores ${scores}: ${JSON.stringify([out, lse])}`);
      }
    }
  }
});

/**
 * Attention with every operation rounded to f32, sums one after the other: the simplest kernel, which rounds most.
 */
function plainF32({ q, k, v, headDim: D, sequences: [{ new: T, cached }] }: FixedInput) {
  const f = Math.fround;
  const out = new Float32Array(T * D);
  const lse = new Float32Array(T);
  for (let t = 0; t < T; t++) {
    const scores = Array.from({ length: cached + t + 1 }, (_, j) => {
      let dot = 0;
      for (let d = 0; d < D; d++) dot = f(dot + f(q[t * D + d] * k[j * D + d]));
      return f(dot * f(1 / Math.sqrt(D)));
    });
    const max = Math.max(...scores);
    let sum = 0;
    for (const [j, score] of scores.entries()) {
      const p = f(Math.exp(f(score - max)));
      sum = f(sum + p);
      for (let d = 0; d < D; d++) out[t * D + d] = f(out[t * D + d] + f(p * v[j * D + d]));
    }
    for (let d = 0; d < D; d++) out[t * D + d] = f(out[t * D + d] / sum);
    lse[t] = f(max + f(Math.log(sum)));
  }
  return { out, lse };
}

test("twenty planted faults fail, at every size of values", () => {
  assert.equal(Object.keys(FAULTS).length, 20);
  for (const values of [1e-3, 1, 1e3]) {
    for (const wireDtype of ["f32", "bf16"] as const) {
      // Numbers that bf16 holds: its wire rounds nothing, and allows no more than f32's.
      const exact = (x: Float32Array) => fromBytes(toBytes(x, "bf16"), "bf16");
      const made = input(1, values);
      const one = { ...made, q: exact(made.q), k: exact(made.k), v: exact(made.v), wireDtype, ranks: 4 };
      const { out, lse } = reference(one);
      const right = { out: Float32Array.from(out), lse: Float32Array.from(lse) };
      const rows = expect(one);
      const width = one.heads * one.headDim;
      const allowed = (at: number) => rows[Math.floor(at / width)].ways[0].allowed.out[at % width];
      assert.ok(check(one, right, rows).passed);
      for (const [name, spoil] of Object.entries(FAULTS)) {
        const spoilt = spoil(one, right, allowed);
        const { passed, ...found } = check(one, spoilt, rows);
        assert.ok(!passed, `${name}, values ${values}, ${wireDtype}: passed, ${JSON.stringify(found)}`);
      }
    }
  }
});

test("faults fail at scores of 30 to 1e4 too, where few keys have the weight", () => {
  // An average, or a mask one short, may leave no trace if one key has all the weight.
  const names = [
    "a sign",
    "a neighbour's row",
    "a head in another's place",
    "a lost rank",
    "a hop merged twice",
    "LSE in base 2",
    "one element of O off by 8 bounds",
    "no mask",
    "scores times 1.02",
  ];
  for (const scores of [30, 1000, 1e4]) {
    const one = { ...input(scores, 1), ranks: 4 };
    const { out, lse } = reference(one);
    const right = { out: Float32Array.from(out), lse: Float32Array.from(lse) };
    const rows = expect(one);
    const width = one.heads * one.headDim;
    for (const name of names) {
      const { passed } = check(
        one,
        FAULTS[name](one, right, (at) => rows[Math.floor(at / width)].ways[0].allowed.out[at % width]),
        rows,
      );
      assert.ok(!passed, `${name} at scores of ${scores}`);
    }
  }
});

test("each element has its own bound: a small column beside a large one, off by a tenth of itself", () => {
  const one = input(1, 1);
  const v = one.v.map((x, i) => (i % 64 < 32 ? x * 1e-3 : x * 1e3));
  const { out, lse } = reference({ ...one, v });
  const right = { out: Float32Array.from(out), lse: Float32Array.from(lse) };
  assert.ok(check({ ...one, v }, right).passed);
  assert.ok(!check({ ...one, v }, { out: right.out.map((x, i) => (i === 640 ? x * 1.1 : x)), lse: right.lse }).passed);
});

test("the wire's part of the bound: nothing if it holds the values exactly, else the exact effect of its rounding", () => {
  const one = input(1, 1);
  for (const wireDtype of ["bf16", "f16"] as const) {
    const held = (x: Float32Array) => fromBytes(toBytes(x, wireDtype), wireDtype);
    const fits: CheckInput = { ...one, k: held(one.k), v: held(one.v), wireDtype };
    const exact = reference(fits);
    const off = { out: Float32Array.from(exact.out, (x) => x + 1e-4), lse: Float32Array.from(exact.lse) };
    assert.ok(!check(fits, off).passed, `${wireDtype}: 1e-4 off passes though the wire rounded nothing`);
    // The wire rounds: the result from the rounded values passes, and that from the true ones doesn't.
    const sent = reference({ ...one, k: held(one.k), v: held(one.v) });
    const found = check({ ...one, wireDtype }, { out: Float32Array.from(sent.out), lse: Float32Array.from(sent.lse) });
    assert.ok(found.passed && found.out.max > 1e-5, JSON.stringify(found));
    const true_ = reference(one);
    assert.ok(
      !check({ ...one, wireDtype }, { out: Float32Array.from(true_.out), lse: Float32Array.from(true_.lse) }).passed,
      `${wireDtype}: a wire that rounds nothing passes for one that does`,
    );
    // In a session a row's query may have travelled rounded, or not.
    for (const q of [one.q, held(one.q)]) {
      const way = reference({ ...one, q, k: held(one.k), v: held(one.v) });
      assert.ok(
        check({ ...one, wireDtype, variant: "auto" }, {
          out: Float32Array.from(way.out),
          lse: Float32Array.from(way.lse),
        }).passed,
      );
    }
  }
});

test("a row that sees no key: O of 0 and LSE of -Infinity pass, nothing else does", () => {
  const one = { ...input(1, 1, { T: 2, P: 0 }), causal: false, sequences: [{ new: 2, cached: 0 }] };
  const none = { ...one, k: one.k.subarray(0, 0), v: one.v.subarray(0, 0), sequences: [{ new: 2, cached: -2 }] };
  const zero = { out: new Float32Array(one.q.length), lse: new Float32Array(8).fill(-Infinity) };
  assert.ok(check(none, zero).passed);
  assert.ok(!check(none, { ...zero, lse: new Float32Array(8) }).passed);
  assert.ok(!check(none, { ...zero, out: zero.out.map(() => 1e-30) }).passed);
});

test("checkAsync gives what check gives, of all rows or of some, lets timers through, and stops at its signal", async () => {
  const one = input(1, 1, { T: 160, P: 800 });
  const { out, lse } = reference(one);
  const right = { out: Float32Array.from(out), lse: Float32Array.from(lse) };
  const progress: number[] = [];
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  assert.deepEqual(await checkAsync(one, right, { onProgress: (done) => progress.push(done) }), check(one, right));
  clearInterval(timer);
  assert.deepEqual(progress, Array.from({ length: 160 }, (_, i) => i + 1));
  assert.ok(ticks > 0, "no timer ran meanwhile");
  const rows = [3, 90];
  const some = {
    out: Float32Array.from(rows.flatMap((r) => [...right.out.subarray(r * 256, (r + 1) * 256)])),
    lse: Float32Array.from(rows.flatMap((r) => [...right.lse.subarray(r * 4, (r + 1) * 4)])),
  };
  assert.ok((await checkAsync(one, some, { rows })).passed);
  assert.ok(!(await checkAsync(one, some, { rows: [3, 91] })).passed);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 20);
  const start = performance.now();
  await assert.rejects(
    checkAsync(input(1, 1, { T: 1000, P: 3000 }), { out: new Float32Array(1000 * 256), lse: new Float32Array(4000) }, {
      signal: stop.signal,
    }),
    { name: "AbortError" },
  );
  assert.ok(performance.now() - start < 2000);
});

test("tensors pass for which PyTorch's own f32 attention is off by 1.2e-5", async () => {
  // q, k ~ N(0, 3^2): scores of standard deviation 9.
  const one = { ...input(9, 1, { T: 256, P: 0 }), ranks: 4 };
  const { out, passed } = check(one, await attendInProcess(one, 4, cpu));
  assert.ok(passed, JSON.stringify(out));
});

test("a right result of one attention whose variant a rule chose passes, whichever operand travelled", async () => {
  for (const wireDtype of ["bf16", "f16"] as const) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const given = { ...input(1, 1), wireDtype };
      const result = await attendInProcess(
        { ...given, variant },
        3,
        (shape, recorder) => new CpuAttention(shape, recorder),
      );
      assert.ok(check({ ...given, variant: "auto" }, result).passed);
      const wrong = { out: result.out.map((x, i) => (i === 7 ? -x : x)), lse: result.lse };
      assert.ok(!check({ ...given, variant: "auto" }, wrong).passed);
    }
  }
});
