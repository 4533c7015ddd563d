/** Plans and sweeps: sums, monotonicity, disturbances, the speed on large clusters, and impossible layouts. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { InputError } from "../../../engine/errors.ts";
import { weightCount } from "../../../engine/plan/models.ts";
import {
  clusterFromJson,
  CLUSTERS,
  type ClusterSpec,
  findAccelerator,
  findCluster,
  findFabric,
  findModel,
  modelFromConfig,
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

const CONFIG = {
  num_hidden_layers: 80,
  hidden_size: 8192,
  num_attention_heads: 64,
  num_key_value_heads: 8,
  intermediate_size: 28672,
  vocab_size: 128256,
  model_type: "llama",
  tie_word_embeddings: false,
};

test("a Hugging Face config.json gives the same model as its name", () => {
  const { name: _, source: __, ...read } = modelFromConfig(CONFIG, "mine");
  const { name: ___, source: ____, ...known } = findModel("llama3-70b");
  assert.deepEqual(read, known);
});

test("configs with head_dim, without KV heads, with text_config, without a gate, quantised, with a window", () => {
  assert.equal(modelFromConfig({ ...CONFIG, head_dim: 96 }, "m").headDim, 96);
  const { num_key_value_heads: _, ...mha } = CONFIG;
  assert.equal(modelFromConfig(mha, "m").kvHeads, 64);
  assert.equal(modelFromConfig({ text_config: CONFIG, model_type: "mllama" }, "m").layers, 80);
  assert.equal(modelFromConfig({ ...CONFIG, model_type: "falcon" }, "m").ffnMatrices, 2);
  assert.equal(
    modelFromConfig({ ...CONFIG, quantization_config: { quant_method: "fbgemm_fp8" } }, "m").ffnPrecision,
    "fp8",
  );
  assert.match(
    modelFromConfig({ ...CONFIG, sliding_window: 4096 }, "m").notes[0],
    /sliding_window 4096: planned as full attention/,
  );
});

test("configs that lack a field or are not dense models are refused", () => {
  const { hidden_size: _, vocab_size: __, ...partial } = CONFIG;
  assert.throws(
    () => modelFromConfig(partial, "c.json"),
    refused(/model c\.json: the config has no hidden_size, no vocab_size; found num_hidden_layers/),
  );
  assert.throws(
    () => modelFromConfig({ ...CONFIG, num_local_experts: 8 }, "c"),
    refused(/num_local_experts = 8 means a mixture of experts/),
  );
  assert.throws(() => modelFromConfig({ ...CONFIG, kv_lora_rank: 512 }, "c"), refused(/latent attention/));
  assert.throws(
    () => modelFromConfig({ ...CONFIG, num_attention_heads: 60 }, "c"),
    refused(/60 is not a multiple of num_key_value_heads 8/),
  );
  assert.throws(() => modelFromConfig([], "c"), refused(/expected a JSON object/));
});

test("configs of other architectures are refused with the field, whatever their family calls it", () => {
  const others: readonly (readonly [field: string, more: Record<string, unknown>, means: RegExp])[] = [
    ["moe_num_experts", { moe_num_experts: 64 }, /mixture of experts/],
    ["ffn_config.moe_num_experts", { ffn_config: { moe_num_experts: 16 } }, /mixture of experts/],
    ["n_routed_experts", { n_routed_experts: 256 }, /mixture of experts/],
    ["layer_types", { layer_types: ["linear_attention", "full_attention"] }, /layers of "linear_attention"/],
    ["linear_num_key_heads", { linear_num_key_heads: 16 }, /linear attention/],
    ["hybrid_override_pattern", { hybrid_override_pattern: "M-M*" }, /state-space/],
    ["ssm_state_size", { ssm_state_size: 128 }, /state-space/],
    ["block_types", { block_types: ["recurrent", "attention"] }, /layers of "recurrent"/],
    ["cross_attention_layers", { cross_attention_layers: [3, 8] }, /cross attention/],
    ["is_encoder_decoder", { is_encoder_decoder: true }, /cross attention/],
    ["num_key_value_heads_per_layer", { num_key_value_heads_per_layer: [4, 2] }, /differ by layer/],
    ["num_attention_heads", { num_attention_heads: [64, 32] }, /differ by layer/],
    ["num_kv_shared_layers", { num_kv_shared_layers: 10 }, /share keys and values/],
    ["q_lora_rank", { q_lora_rank: 1536 }, /latent attention/],
  ];
  for (const [field, more, means] of others) {
    const pattern = new RegExp(`^model c: ${field.replaceAll(".", "\\.")} = .* means .*${means.source}`);
    assert.throws(() => modelFromConfig({ ...CONFIG, ...more }, "c"), refused(pattern), field);
    assert.throws(
      () => modelFromConfig({ text_config: { ...CONFIG, ...more } }, "c"),
      refused(new RegExp(means.source)),
      field,
    );
  }
  // Fields that are present but not set.
  const nothing = {
    num_local_experts: 1,
    moe_num_experts: 0,
    n_routed_experts: null,
    cross_attention_layers: [],
    is_encoder_decoder: false,
    ssm_cfg: {},
    layer_types: ["full_attention"],
    num_key_value_heads_per_layer: [8, 8],
    quantization_config: undefined,
  };
  assert.equal(modelFromConfig({ ...CONFIG, ...nothing }, "c").layers, 80);
});

test("windows of attention are planned if the context fits them, else refused with the field", async () => {
  for (
    const [field, more] of [["sliding_window", { sliding_window: 4096 }], ["attention_chunk_size", {
      layer_types: ["chunked_attention", "full_attention"],
      attention_chunk_size: 4096,
    }]] as const
  ) {
    const windowed = modelFromConfig({ ...CONFIG, ...more }, "c");
    const full = { ...windowed, window: undefined };
    assert.equal(
      (await plan({ model: windowed, cluster, new: 4000, cached: 96 })).seconds,
      (await plan({ model: full, cluster, new: 4000, cached: 96 })).seconds,
    );
    await assert.rejects(
      plan({ model: windowed, cluster, new: 4000, cached: 97 }),
      refused(new RegExp(`^model c: ${field} 4096 means that layers see only a part of 4097 tokens`)),
    );
    assert.match((await plan({ model: windowed, cluster, new: 5 })).notes.join(), new RegExp(field));
  }
  assert.equal(modelFromConfig({ ...CONFIG, sliding_window: 4096, use_sliding_window: false }, "c").window, undefined);
  assert.equal(
    modelFromConfig({ ...CONFIG, sliding_window: 4096, layer_types: ["full_attention"] }, "c").window,
    undefined,
  );
  assert.throws(
    () => modelFromConfig({ ...CONFIG, layer_types: ["sliding_attention"] }, "c"),
    refused(/the config has no sliding_window or attention_chunk_size; add one/),
  );
});

test("no gate, Falcon's heads, tied weights: the models have their published sizes", () => {
  const nemotron = {
    model_type: "nemotron",
    hidden_act: "relu2",
    hidden_size: 18432,
    num_attention_heads: 96,
    num_key_value_heads: 8,
    head_dim: 192,
    num_hidden_layers: 96,
    intermediate_size: 73728,
    vocab_size: 256000,
    tie_word_embeddings: false,
  };
  assert.equal(Math.round(weightCount(modelFromConfig(nemotron, "c")) / 1e9), 341);
  const falcon = {
    model_type: "falcon",
    hidden_size: 8192,
    num_attention_heads: 128,
    num_kv_heads: 8,
    num_hidden_layers: 60,
    vocab_size: 65024,
    multi_query: true,
    new_decoder_architecture: true,
  };
  assert.deepEqual(
    [modelFromConfig(falcon, "c").kvHeads, Math.round(weightCount(modelFromConfig(falcon, "c")) / 1e9)],
    [8, 41],
  );
  assert.equal(modelFromConfig({ ...falcon, new_decoder_architecture: false }, "c").kvHeads, 1);
  assert.throws(
    () => modelFromConfig({ ...CONFIG, model_type: "x", hidden_act: "relu2" }, "c"),
    refused(/hidden_act = "relu2" in the family "x" does not say whether the feed-forward layer has a gate/),
  );
});

test("notes name each field that the plan leaves out", () => {
  const notes = modelFromConfig({
    ...CONFIG,
    attn_logit_softcapping: 50,
    alibi: true,
    parallel_attn: true,
    vision_config: { depth: 2 },
    quantization_config: { quant_method: "awq" },
  }, "c").notes;
  for (const field of ["attn_logit_softcapping", "alibi", "parallel_attn", "vision_config", "quantization_config"]) {
    assert.ok(notes.some((note) => note.startsWith(field)), field);
  }
  const groups = {
    quant_method: "compressed-tensors",
    config_groups: { group_0: { weights: { num_bits: 8, type: "float" } } },
  };
  assert.equal(modelFromConfig({ ...CONFIG, quantization_config: groups }, "c").ffnPrecision, "fp8");
  assert.throws(
    () => modelFromConfig({ ...CONFIG, num_attention_heads: 1e9 }, "c"),
    refused(/num_attention_heads: found 1000000000, expected a whole number from 1 to 16777216/),
  );
});

test("a user's cluster: names or objects, and errors name the wrong field", () => {
  const own = clusterFromJson({ accelerator: "h200", fabric: { line: 25e9, achieved: 20e9 }, gpusPerHost: 4 }, "own");
  assert.equal(own.accelerator.name, "h200");
  assert.equal(own.fabric.achieved, 20e9);
  assert.equal(own.portsPerHost, 4);
  assert.throws(
    () => clusterFromJson({ accelerator: { bf16: 1e15 }, fabric: "gtt" }, "own"),
    refused(/accelerator\.memory: found nothing, expected a positive number/),
  );
  assert.throws(
    () => clusterFromJson({ accelerator: "h200", fabric: { line: -1 } }, "own"),
    refused(/fabric\.line: found -1/),
  );
  assert.throws(
    () => clusterFromJson({ fabric: "gtt" }, "own"),
    refused(/accelerator: found nothing, expected a name or an object/),
  );
});
