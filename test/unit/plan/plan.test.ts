/** Plans and sweeps: sums, monotonicity, disturbances, the speed on large clusters, and impossible layouts. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { InputError } from "../../../engine/errors.ts";
import {
  CLUSTERS,
  type ClusterSpec,
  findAccelerator,
  findCluster,
  findFabric,
  findModel,
  MODELS,
  PARAMETERS,
  plan,
  type PlanInput,
  sweep,
} from "../../../engine/plan/index.ts";

const model = findModel("llama3-405b");
const cluster = findCluster("gtt");
const base = { model, cluster, tp: 8 } as const;

const refused = (message: RegExp) => (e: unknown) => e instanceof InputError && message.test(e.message);

test("the breakdown sums to the time, for any layout and step", async () => {
  const step = fc.record({
    cp: fc.integer({ min: 1, max: 6 }),
    tp: fc.constantFrom(1, 2, 4, 8, 16),
    new: fc.integer({ min: 1, max: 20000 }),
    cached: fc.integer({ min: 0, max: 20000 }),
    batch: fc.integer({ min: 1, max: 5 }),
    decode: fc.boolean(),
    variant: fc.constantFrom("auto" as const, "pass-kv" as const, "pass-q" as const),
  });
  await fc.assert(
    fc.asyncProperty(step, async (s) => {
      const p = await plan({ ...base, ...s });
      const sum = Object.values(p.breakdown).reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(sum - p.seconds) <= 1e-9 * p.seconds, `${sum} against ${p.seconds}`);
      assert.ok(Object.values(p.breakdown).every((t) => t >= 0));
      assert.equal(p.ttit ?? p.ttft, p.seconds);
    }),
    { numRuns: 60 },
  );
});

test("auto takes the faster variant and gives both times", async () => {
  for (const [T, P] of [[1280, 126720], [12800, 115200]]) {
    const auto = await plan({ ...base, cp: 4, new: T, cached: P });
    const [kv, q] = [
      await plan({ ...base, cp: 4, new: T, cached: P, variant: "pass-kv" }),
      await plan({ ...base, cp: 4, new: T, cached: P, variant: "pass-q" }),
    ];
    assert.equal(auto.seconds, Math.min(kv.seconds, q.seconds));
    assert.deepEqual(auto.alternatives.map((a) => a.seconds), [kv.seconds, q.seconds]);
    assert.match(auto.reason, /pass-KV .* pass-Q .* apart/);
    // The rule predicts exposed seconds from its rates alone. They differ from the breakdown, so they stay out.
    assert.doesNotMatch(auto.reason, /All2All|exposed/);
  }
});

test("more bandwidth, compute or memory bandwidth, or less latency, is never slower", async () => {
  const step = fc.record({
    cp: fc.integer({ min: 1, max: 6 }),
    new: fc.integer({ min: 1, max: 50000 }),
    cached: fc.integer({ min: 0, max: 50000 }),
    decode: fc.boolean(),
    variant: fc.constantFrom("pass-kv" as const, "pass-q" as const),
  });
  const better: readonly ((c: ClusterSpec) => ClusterSpec)[] = [
    (c) => ({ ...c, fabric: { ...c.fabric, line: c.fabric.line * 2 } }),
    (c) => ({ ...c, accelerator: { ...c.accelerator, bf16: c.accelerator.bf16 * 1.5, fp8: c.accelerator.fp8 * 1.5 } }),
    (c) => ({ ...c, accelerator: { ...c.accelerator, memoryRate: c.accelerator.memoryRate * 1.5 } }),
    (c) => ({ ...c, accelerator: { ...c.accelerator, hostLink: c.accelerator.hostLink * 1.5 } }),
    (c) => ({ ...c, fabric: { ...c.fabric, latency: 1e-6 } }),
  ];
  await fc.assert(
    fc.asyncProperty(step, fc.constantFrom(...better), async (s, improve) => {
      const [before, after] = [await plan({ ...base, ...s }), await plan({ ...base, ...s, cluster: improve(cluster) })];
      assert.ok(after.seconds <= before.seconds * (1 + 1e-12));
    }),
    { numRuns: 80 },
  );
});

test("more new tokens, more cached tokens or a larger overhead never take less time", async () => {
  const step = fc.record({
    cp: fc.integer({ min: 1, max: 6 }),
    new: fc.integer({ min: 1, max: 30000 }),
    cached: fc.integer({ min: 1, max: 30000 }),
    variant: fc.constantFrom("pass-kv" as const, "pass-q" as const),
  });
  await fc.assert(
    fc.asyncProperty(step, fc.integer({ min: 1, max: 5000 }), async (s, more) => {
      const { seconds } = await plan({ ...base, ...s });
      // Head-tail shards of one token more may fall a little better.
      const slack = 1 - 1e-3;
      assert.ok((await plan({ ...base, ...s, new: s.new + more })).seconds >= seconds * slack);
      assert.ok((await plan({ ...base, ...s, cached: s.cached + more })).seconds >= seconds * slack);
      assert.ok(
        (await plan({ ...base, ...s, parameters: { ...PARAMETERS, hopOverhead: PARAMETERS.hopOverhead * 2 } }))
          .seconds >= seconds,
      );
    }),
    { numRuns: 40 },
  );
});

test("a straggler and jitter slow a plan down, and repeat exactly", async () => {
  const step: PlanInput = { ...base, cp: 4, new: 32000, variant: "pass-kv" };
  const even = (await plan(step)).seconds;
  const slow = (await plan({ ...step, disturbance: { slow: new Map([[2, 1.5]]) } })).seconds;
  assert.ok(slow > even * 1.2 && slow < even * 1.5);
  const jitter = { jitter: { seed: 3, amplitude: 0.2 } };
  const noisy = (await plan({ ...step, disturbance: jitter })).seconds;
  assert.ok(noisy > even);
  assert.equal((await plan({ ...step, disturbance: jitter })).seconds, noisy);
  assert.notEqual((await plan({ ...step, disturbance: { jitter: { seed: 4, amplitude: 0.2 } } })).seconds, noisy);
});

test("uneven caches: KV messages grow to the fullest rank's (max P_i + T/N), Q messages don't", async () => {
  const step: PlanInput = { ...base, cp: 4, new: 3200, cached: 124800 };
  const held = [31200 + 3000, 31200 - 1000, 31200 - 1000, 31200 - 1000];
  const [even, uneven] = [
    await plan({ ...step, variant: "pass-kv" }),
    await plan({ ...step, held, variant: "pass-kv" }),
  ];
  assert.equal(uneven.layer.message, 2 * (34200 + 800) * 128 * 2);
  assert.ok(uneven.seconds > even.seconds);
  const q = await plan({ ...step, held, variant: "pass-q" });
  assert.equal(q.layer.message, 800 * 16 * 128 * 2);
  await assert.rejects(
    plan({ ...step, held: [1, 2, 3] }),
    refused(/held: found 3 ranks with 6 tokens together, expected 4 ranks with the 124800/),
  );
});

test("if GPUs share ports, exposed transfers grow", async () => {
  const step: PlanInput = { ...base, cp: 4, new: 3200, cached: 124800, variant: "pass-kv" };
  const shared = await plan({ ...step, cluster: { ...cluster, portsPerHost: 2 } });
  assert.ok(shared.breakdown.exposed > (await plan(step)).breakdown.exposed * 2);
});

test("in a host the ring runs over its links: CP8 x TP1 on one host doesn't wait for the fabric", async () => {
  const small = findModel("llama3-8b");
  const inside = await plan({ model: small, cluster, cp: 8, tp: 1, new: 8000, variant: "pass-kv" });
  assert.equal(inside.hosts, 1);
  const slowFabric = { ...cluster, fabric: { ...cluster.fabric, line: 1e8 } };
  assert.equal(
    (await plan({ model: small, cluster: slowFabric, cp: 8, tp: 1, new: 8000, variant: "pass-kv" })).seconds,
    inside.seconds,
  );
  assert.ok(
    (await plan({ model: small, cluster: slowFabric, cp: 16, tp: 1, new: 8000, variant: "pass-kv" })).breakdown
      .exposed > 0,
  );
});

test("spans of one layer: every rank's device lane has no gaps from 0 to the layer's end", async () => {
  const p = await plan({ ...base, cp: 4, new: 3200, cached: 124800, spans: true });
  assert.equal(p.variant, "pass-q");
  const kinds = new Set(p.spans!.map((s) => s.kind));
  for (const kind of ["gemm", "launch", "attend", "send", "receive", "all2all", "merge", "allreduce"] as const) {
    assert.ok(kinds.has(kind), kind);
  }
  for (let rank = 0; rank < 4; rank++) {
    const device = p.spans!.filter((s) => s.rank === rank && s.lane === "device").sort((a, b) => a.start - b.start);
    let at = 0;
    for (const s of device) {
      assert.ok(Math.abs(s.start - at) < 1e-12);
      at += s.duration;
    }
    assert.ok(at <= p.layer.seconds + 1e-12);
  }
});

test("one rank for all is within 0.1 % of every rank if lengths do not divide", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const step: PlanInput = { ...base, cp: 300, new: 1_000_001, variant };
    const [one, all] = [await plan(step), await plan({ ...step, everyRank: true })];
    assert.equal(one.layer.simulated, "one rank for all");
    assert.equal(all.layer.simulated, "every rank");
    assert.ok(Math.abs(one.seconds / all.seconds - 1) < 1e-3);
  }
});

test("1,024 ranks and 10M tokens take under a second; every rank simulated takes hops x ranks", async () => {
  const step: PlanInput = { ...base, cp: 1024, new: 10_000_000 };
  let began = performance.now();
  await plan(step);
  assert.ok(performance.now() - began < 1000, `took ${performance.now() - began} ms`);
  // Node's test runner hooks every promise, which makes promises about ten times slower than in a program. So this has a
  // quarter of the ranks and a wide bound.
  began = performance.now();
  const slow = await plan({ ...step, cp: 256, variant: "pass-kv", disturbance: { slow: new Map([[128, 1.1]]) } });
  assert.equal(slow.layer.simulated, "every rank");
  assert.ok(performance.now() - began < 6000, `took ${performance.now() - began} ms`);
});

test("decode: the batch is padded to a multiple of N, so four sequences on CP4 take as long as one", async () => {
  const of = (batch: number) => plan({ ...base, cp: 4, cached: 32000, batch, decode: true, variant: "pass-q" });
  assert.equal((await of(1)).layer.seconds, (await of(4)).layer.seconds);
  assert.ok((await of(5)).layer.seconds > (await of(4)).layer.seconds);
  assert.equal((await plan({ ...base, cp: 4, cached: 32000, decode: true })).variant, "pass-q");
});

test("every known model and cluster plans", async () => {
  for (const m of MODELS) {
    for (const c of CLUSTERS) {
      const p = await plan({ model: m, cluster: c, cp: 2, tp: 4, new: 4000, cached: 4000 });
      assert.ok(p.seconds > 0 && p.seconds < 100);
    }
  }
});

test("a sweep's Pareto front has layouts that fit, each faster with more GPUs, and no fitting layout beats it", async () => {
  const s = await sweep({ model, cluster, new: 1_000_000, maxGpus: 128, target: 160 });
  assert.ok(s.pareto.length >= 2);
  s.pareto.forEach((row, i) => {
    assert.ok(row.fits);
    if (i > 0) assert.ok(row.gpus > s.pareto[i - 1].gpus && row.seconds < s.pareto[i - 1].seconds);
  });
  for (const row of s.rows.filter((r) => r.fits)) {
    assert.ok(s.pareto.some((p) => p.gpus <= row.gpus && p.seconds <= row.seconds));
  }
  assert.deepEqual([s.best?.cp, s.best?.tp], [8, 8]);
  assert.ok(s.rows.some((r) => r.tp === 64) && s.rows.some((r) => r.cp === 128));
});

test("unknown names list the known ones", () => {
  assert.throws(() => findModel("gpt"), refused(/model: found "gpt", expected one of .*llama3-405b.*config\.json/));
  assert.throws(() => findCluster("x"), refused(/cluster: found "x", expected one of gtt, gti, h100/));
  assert.throws(() => findAccelerator("tpu"), refused(/accelerator: found "tpu", expected one of h100-hbm2e/));
  assert.throws(() => findFabric("tin cans"), refused(/fabric: found "tin cans", expected one of gtt, gti/));
});

test("impossible layouts say why", async () => {
  await assert.rejects(
    plan({ ...base, tp: 3, new: 10 }),
    refused(/tp 3 does not divide the 128 query heads of llama3-405b; 1, 2, 4/),
  );
  await assert.rejects(
    plan({ model: findModel("qwen2.5-7b"), cluster, tp: 7, new: 10 }),
    refused(/tp 7 neither divides the 4 KV heads of qwen2.5-7b nor is a multiple of them; 1, 2, 4, 28 fit/),
  );
  await assert.rejects(
    plan({ ...base, cluster: { ...cluster, gpusPerHost: 5 }, tp: 8, new: 10 }),
    refused(/tp 8 does not fill hosts of 5 GPUs/),
  );
  await assert.rejects(plan({ ...base }), refused(/new: found NaN/));
  await assert.rejects(plan({ ...base, cp: 0, new: 10 }), refused(/cp: found 0/));
  await assert.rejects(
    sweep({ model, cluster, new: 5_000_000, maxGpus: 8 }),
    refused(/no layout fits on up to 8 GPUs .* the nearest, CP\d+ x TP\d+ .* does not fit: needs/),
  );
});
