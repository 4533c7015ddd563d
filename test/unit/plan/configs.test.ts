/** Models from a Hugging Face config.json and clusters from JSON: what is read, noted and refused. */
import assert from "node:assert/strict";
import test from "node:test";
import { InputError } from "../../../engine/errors.ts";
import { clusterFromJson, findCluster, findModel, modelFromConfig, plan } from "../../../engine/plan/index.ts";
import { weightCount } from "../../../engine/plan/models.ts";

const cluster = findCluster("gtt");

const refused = (message: RegExp) => (e: unknown) => e instanceof InputError && message.test(e.message);

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
