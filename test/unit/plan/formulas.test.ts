/** The planner's formulas against values computed by hand, and its closed-form counts against the layout. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { block, headTail, shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { CAUSAL } from "../../../engine/layout/mask.ts";
import { attentionTime, mergeTime } from "../../../engine/plan/attention-time.ts";
import { findCluster } from "../../../engine/plan/clusters.ts";
import { all2allTime, allReduceTime, transferTime } from "../../../engine/plan/collectives.ts";
import { decodeKernels } from "../../../engine/plan/decode-kernels.ts";
import {
  attentionFlops,
  attentionFlopsPrinted,
  causalPairs,
  gemmFlops,
  modelFlops,
} from "../../../engine/plan/flops.ts";
import { productBytes, productFlops, products, productTime } from "../../../engine/plan/gemm.ts";
import { headsPerGpu, tpSizes } from "../../../engine/plan/heads.ts";
import { jitterFactor } from "../../../engine/plan/jitter.ts";
import { kvBytesPerToken, memoryOf, RESERVE, weightBytes } from "../../../engine/plan/memory.ts";
import { attentionWeights, ffnWeights, findModel, weightCount } from "../../../engine/plan/models.ts";
import { pairsBetween } from "../../../engine/layout/pairs.ts";
import { PARAMETERS, type PlanParameters, PROVENANCE } from "../../../engine/plan/parameters.ts";
import { ratesOf } from "../../../engine/plan/rates.ts";
import { kvMessage, parcel, qMessage } from "../../../engine/plan/traffic.ts";

const M = findModel("llama3-405b");
const GTT = findCluster("gtt");

/** Round parameters for arithmetic by hand. */
const ROUND: PlanParameters = {
  tensorShare: 0.5,
  fp8Share: 0.5,
  flowShare: 0.5,
  allReduceShare: 0.5,
  messageLatency: 10e-6,
  hopOverhead: 1e-3,
  cacheOverhead: 2e-3,
  kernelFloor: 5e-6,
};
const RATES = ratesOf(GTT, ROUND);

function near(found: number, expected: number, tolerance = 1e-9): void {
  assert.ok(Math.abs(found - expected) <= tolerance * Math.abs(expected), `found ${found}, expected ${expected}`);
}

test("weights of Llama 3 405B: 570 M attention and 2617 M feed-forward a layer, 405.8 B in all, 60.2 GB a GPU in TP8", () => {
  assert.equal(attentionWeights(M), 16384 * 18432 + 16384 * 16384);
  assert.equal(ffnWeights(M), 3 * 16384 * 53248);
  near(weightCount(M), 405.8e9, 1e-3);
  near(weightBytes(M, 8, "fp8"), 60.2e9, 1e-3);
  near(weightBytes(M, 8, "bf16"), (2 * weightCount(M)) / 8);
});

test("known models have about as many weights as their names say", () => {
  for (
    const [name, billions] of [
      ["llama3.2-1b", 1.24],
      ["llama3-8b", 8.03],
      ["llama3-70b", 70.6],
      ["mistral-7b", 7.25],
      ["mistral-large-2", 122.6],
      ["qwen2.5-7b", 7.6],
      ["qwen2.5-32b", 32.8],
      ["qwen2.5-72b", 72.7],
      ["qwen3-8b", 8.2],
      ["qwen3-32b", 32.8],
    ] as const
  ) {
    near(weightCount(findModel(name)), billions * 1e9, 0.01);
  }
});

test("FLOPs: Table 3's and Appendix A's, 4.94e18 for 1M tokens", () => {
  assert.equal(attentionFlopsPrinted(128000, 0, 16384), 4 * 128000 ** 2 * 16384);
  assert.equal(causalPairs({ new: 4, cached: 10 }), 50);
  near(gemmFlops(M, 1e6), 8.1e17, 3e-3);
  near(M.layers * attentionFlops(causalPairs({ new: 1e6, cached: 0 }), 128, 128), 4.13e18, 1e-3);
  near(modelFlops(M, { new: 1e6, cached: 0 }, 1), 4.94e18, 1e-3);
});

test("messages at a miss rate of 2.5 % (Table 5): 16.38 MB of KV, 3.28 MB of Q, 9.98 MB for three parcels", () => {
  assert.equal(kvMessage(32000, 1, 128, 2), 16_384_000);
  assert.equal(qMessage(800, 16, 128, 2), 3_276_800);
  assert.equal(3 * parcel(800, 16, 128, 2), 9_984_000);
});

test("KV cache: 64,512 bytes for a token on a GPU with TP8; beyond the KV heads it no longer shrinks", () => {
  assert.equal(kvBytesPerToken(M, 8, 2), 64_512);
  assert.equal(kvBytesPerToken(M, 16, 2), 64_512);
  assert.equal(kvBytesPerToken(M, 1, 2), 516_096);
});

test("memory: weights, whole pages and activations by hand; about 554K tokens in a host without activations", () => {
  const m = memoryOf({
    model: M,
    tp: 8,
    cp: 1,
    ffn: "fp8",
    kvBytes: 2,
    sequence: { new: 1000, cached: 1 },
    batch: 3,
    variant: "pass-kv",
    capacity: 96e9,
  });
  assert.equal(m.kv, 3 * 1024 * 64_512);
  assert.equal(m.kvPadding, 3 * 23 * 64_512);
  assert.equal(m.activations, 3000 * 2 * (3 * 16384 + 3 * 6656));
  assert.equal(m.ring, 0);
  assert.equal(m.total, m.weights + m.kv + m.activations + m.reserve);
  near((96e9 - m.weights) / 64_512, 554e3, 2e-3);
  assert.equal(m.kvCapacityTokens, Math.floor((96e9 - m.weights - m.activations - RESERVE) / 64_512));
});

test("a 1M-token prompt does not fit one host, with the sizes; on CP16 it fits", () => {
  const of = (cp: number) =>
    memoryOf({
      model: M,
      tp: 8,
      cp,
      ffn: "fp8",
      kvBytes: 2,
      sequence: { new: 1e6, cached: 0 },
      batch: 1,
      variant: "pass-kv",
      capacity: 96e9,
    });
  assert.equal(of(1).fits, false);
  assert.match(of(1).summary, /does not fit: needs \d+\.\d GB a GPU, has 96\.0 GB/);
  assert.equal(of(16).fits, true);
});

test("heads: beyond their number, KV heads are replicated; the sizes that split them", () => {
  assert.deepEqual(headsPerGpu(M, 8), { queries: 16, kv: 1, replicas: 1 });
  assert.deepEqual(headsPerGpu(M, 16), { queries: 8, kv: 1, replicas: 2 });
  assert.deepEqual(tpSizes(findModel("qwen2.5-7b")), [1, 2, 4, 28]);
});

test("a product: whole waves of 128 x 128 tiles, or its weights from HBM", () => {
  const [qkv] = products(M, headsPerGpu(M, 8), 8, "fp8");
  assert.deepEqual(qkv, { name: "qkv", outer: 2304, inner: 16384, precision: "bf16" });
  assert.equal(productFlops(qkv, 10), 2 * 10 * 2304 * 16384);
  // 1024 rows: 8 x 18 = 144 tiles in two waves of 132.
  near(productTime(qkv, 1024, RATES), (2 * 132 * 2 * 128 * 128 * 16384) / 400e12);
  // One row: reading the weights takes longest.
  near(productTime(qkv, 1, RATES), productBytes(qkv) / 2.4e12);
  assert.equal(productTime(qkv, 0, RATES), 0);
});

test("TP16 replicates the KV projections: 8 query heads and one KV head a GPU", () => {
  const [qkv, out] = products(M, headsPerGpu(M, 16), 16, "fp8");
  assert.equal(qkv.outer, (8 + 2) * 128);
  assert.equal(out.inner, 8 * 128);
});

test("FLOPs bound attention in prefill, HBM in decode", () => {
  const call = { heads: 16, kvHeads: 1, headDim: 128, kvBytes: 2 };
  near(
    attentionTime({ ...call, pairs: 1e8, queryRows: 3200, keyRows: 32000 }, RATES),
    5e-6 + (4 * 128 * 16 * 1e8) / 400e12,
  );
  near(
    attentionTime({ ...call, pairs: 128000, queryRows: 1, keyRows: 128000 }, RATES),
    5e-6 + (2 * 128000 * 128 * 2 + 2 * 16 * 128 * 2) / 2.4e12,
  );
  near(mergeTime(4, 10, 16, 128, RATES), (5 * 10 * 16 * 260) / 2.4e12);
  assert.equal(mergeTime(1, 10, 16, 128, RATES), 0);
});

test("collectives by hand", () => {
  near(transferTime(25e6, RATES.flow), 10e-6 + 1e-3);
  // The port of 50 GB/s limits three parcels; the flow of 25 GB/s limits one.
  near(all2allTime(10e6, 0, 3, RATES, false), 2 * 3 * 10e-6 + 30e6 / 50e9);
  near(all2allTime(10e6, 0, 1, RATES, false), 2 * 10e-6 + 10e6 / 25e9);
  near(all2allTime(10e6, 0, 3, RATES, true), 2 * 10e-6 + 30e6 / 50e9);
  assert.equal(all2allTime(10e6, 0, 0, RATES, false), 0);
  near(allReduceTime(1e9, 8, RATES), 5e-6 + (1.75 * 1e9) / 370e9);
  near(allReduceTime(1e9, 16, RATES), 5e-6 + 10e-6 + (1.875 * 1e9) / (8 * 12.5e9));
  near(allReduceTime(1e9, 64, RATES), 5e-6 + 30e-6 + (2 * 63 * 1e9) / 64 / (8 * 12.5e9));
  assert.equal(allReduceTime(1e9, 1, RATES), 0);
});

test("a measured rate bounds the port; GPUs that share a port get equal parts", () => {
  const gti = ratesOf(findCluster("gti"), ROUND);
  assert.equal(gti.flow.rate, 3e9);
  assert.equal(gti.port, 3e9);
  const shared = ratesOf({ ...GTT, portsPerHost: 2 }, ROUND);
  assert.equal(shared.port, 12.5e9);
  assert.equal(shared.flow.rate, 12.5e9);
});

test("decode kernels: two fewer without FP8", () => {
  assert.equal(decodeKernels("fp8") - decodeKernels("bf16"), 2);
  assert.equal(decodeKernels("fp8"), 15);
});

test("pairs between blocks match the layout's visibility", () => {
  const lengths = fc.integer({ min: 0, max: 40 });
  fc.assert(
    fc.property(
      fc.array(fc.record({ new: lengths, cached: lengths }), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 5 }),
      (sequences, ranks) => {
        const { queries, keys } = shard(sequences, ranks);
        for (const q of queries) {
          for (const k of keys) assert.equal(pairsBetween(q, k), visibility(q, k, CAUSAL).pairs);
        }
      },
    ),
  );
});

test("the pairs of all ranks sum to the causal pairs", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 9 }), (T, N) => {
    const blocks = Array.from({ length: N }, (_, k) => block([headTail(T, N, k)]));
    const sum = blocks.flatMap((q) => blocks.map((k) => pairsBetween(q, k))).reduce((a, b) => a + b, 0);
    assert.equal(sum, causalPairs({ new: T, cached: 0 }));
  }));
});

test("jitter is repeatable, bounded, and differs by seed, rank, hop and kind", () => {
  const all = [0, 1].flatMap((seed) =>
    [0, 1, 2].flatMap((rank) =>
      [0, 1, 2].flatMap((hop) => ([0, 1] as const).map((what) => jitterFactor(seed, 0.2, rank, hop, what)))
    )
  );
  assert.ok(all.every((f) => f >= 0.8 && f <= 1.2));
  assert.equal(new Set(all).size, all.length);
  assert.equal(jitterFactor(7, 0.2, 3, 4, 1), jitterFactor(7, 0.2, 3, 4, 1));
  assert.equal(jitterFactor(7, 0, 3, 4, 1), 1);
});

test("there are at most eight parameters, each positive and with its provenance", () => {
  const names = Object.keys(PARAMETERS);
  assert.ok(names.length <= 8);
  assert.deepEqual(PROVENANCE.map((p) => p.name).sort(), [...names].sort());
  for (const name of names) assert.ok(PARAMETERS[name as keyof PlanParameters] > 0);
});
