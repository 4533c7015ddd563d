/** Models from a Hugging Face config.json and clusters from JSON: what is read, noted and refused. */
import assert from "node:assert/strict";
import test from "node:test";
import { InputError } from "../../../engine/errors.ts";
import { clusterFromJson, findCluster, findModel, modelFromConfig, plan } from "../../../engine/plan/index.ts";
import { attentionWeights, weightCount } from "../../../engine/plan/models.ts";

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
    /sliding_window 4096: planned in every layer/,
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
  assert.throws(
    () => modelFromConfig({ ...CONFIG, kv_lora_rank: 512 }, "c"),
    refused(/qk_rope_head_dim: found nothing/),
  );
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

test("windows and chunks of attention are planned layer by layer", async () => {
  const masks = (more: Record<string, unknown>) => modelFromConfig({ ...CONFIG, ...more }, "c").masks;
  const layers = CONFIG.num_hidden_layers;
  const window = (n: number, size = 4096) => ({ mask: { kind: "window", size }, layers: n });
  const causal = (n: number) => ({ mask: { kind: "causal" }, layers: n });
  // GPT-OSS: every other layer.
  const types = Array.from({ length: layers }, (_, i) => i % 2 === 0 ? "sliding_attention" : "full_attention");
  assert.deepEqual(masks({ layer_types: types, sliding_window: 128 }), [window(40, 128), causal(40)]);
  // Llama 4: three chunked layers, then one that sees all.
  const chunked = types.map((_, i) => (i + 1) % 4 === 0 ? "full_attention" : "chunked_attention");
  assert.deepEqual(masks({ layer_types: chunked, attention_chunk_size: 8192 }), [
    { mask: { kind: "chunk", size: 8192 }, layers: 60 },
    causal(20),
  ]);
  assert.deepEqual(masks({ model_type: "mistral", sliding_window: 4096 }), [window(80)]);
  assert.deepEqual(masks({ model_type: "gemma3_text", sliding_window: 1024 }), [window(67, 1024), causal(13)]);
  assert.deepEqual(masks({ model_type: "gemma2", sliding_window: 4096 }), [window(40), causal(40)]);
  assert.deepEqual(masks({ model_type: "cohere2", sliding_window: 4096, sliding_window_pattern: 8 }), [
    window(70),
    causal(10),
  ]);
  const qwen = { model_type: "qwen2", sliding_window: 4096, max_window_layers: 70 };
  assert.equal(masks(qwen), undefined);
  assert.deepEqual(masks({ ...qwen, use_sliding_window: true }), [causal(70), window(10)]);
  assert.equal(masks({ sliding_window: 4096, use_sliding_window: false }), undefined);
  assert.equal(masks({ sliding_window: 4096, layer_types: ["full_attention"] }), undefined);
  const unsaid = modelFromConfig({ ...CONFIG, sliding_window: 4096 }, "c");
  assert.deepEqual(unsaid.masks, [window(80)]);
  assert.match(
    (await plan({ model: unsaid, cluster, new: 5 })).notes.join("\n"),
    /^sliding_window 4096: planned in every layer, because the config has no layer_types$/m,
  );
  assert.throws(
    () => masks({ layer_types: ["sliding_attention"] }),
    refused(/layer_types has sliding_attention, but the config has no sliding_window; add it/),
  );
  assert.throws(
    () => masks({ layer_types: ["sliding_attention", "full_attention"], sliding_window: 4 }),
    refused(/layer_types: found 2 layers, expected one type for each of the 80 layers/),
  );
});

test("Gemma 3 by name has the masks of its config", () => {
  const config = {
    text_config: {
      model_type: "gemma3_text",
      hidden_size: 5376,
      num_hidden_layers: 62,
      num_attention_heads: 32,
      num_key_value_heads: 16,
      head_dim: 128,
      intermediate_size: 21504,
      vocab_size: 262208,
      sliding_window: 1024,
    },
  };
  const { source: _source, name: _name, notes: _notes, ...read } = modelFromConfig(config, "c");
  const { source: _known, name: _gemma, notes: _none, ...known } = findModel("gemma3-27b");
  assert.deepEqual(read, known);
});

test("latent attention is read in its absorbed form", () => {
  const latent = { kv_lora_rank: 512, q_lora_rank: 1536, qk_rope_head_dim: 64, qk_nope_head_dim: 128, v_head_dim: 128 };
  const model = modelFromConfig({ ...CONFIG, ...latent, num_key_value_heads: 64, head_dim: 64 }, "c");
  const { kvHeads, headDim, valueDim, valuesInKeys } = model;
  assert.deepEqual({ kvHeads, headDim, valueDim, valuesInKeys }, {
    kvHeads: 1,
    headDim: 576,
    valueDim: 512,
    valuesInKeys: true,
  });
  const { width, heads } = model;
  assert.equal(
    attentionWeights(model),
    width * (1536 + 512 + 64) + 1536 * heads * 192 + 512 * heads * 256 + heads * 128 * width,
  );
  assert.throws(
    () => modelFromConfig({ ...CONFIG, ...latent, v_head_dim: undefined }, "c"),
    refused(/v_head_dim: found nothing, expected a whole number of at least 1 beside kv_lora_rank/),
  );
  assert.throws(
    () => modelFromConfig({ ...CONFIG, q_lora_rank: 1536 }, "c"),
    refused(/q_lora_rank = 1536 means latent attention, but the config has no kv_lora_rank; add it/),
  );
  assert.throws(
    () => modelFromConfig({ ...CONFIG, ...latent, n_routed_experts: 256 }, "c"),
    refused(/mixture of experts/),
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
