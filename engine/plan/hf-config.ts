/** Reads the Hugging Face config.json of a dense decoder-only transformer as a model. */
import { InputError } from "../errors.ts";
import { leftOut, refuseUnplanned, unread } from "./features.ts";
import { latentFrom } from "./hf-latent.ts";
import { masksFrom } from "./hf-masks.ts";
import type { FfnPrecision, Model } from "./models.ts";

/** The names of each size in the configs of different families. */
const FIELDS = {
  layers: ["num_hidden_layers", "n_layer", "num_layers"],
  width: ["hidden_size", "n_embd", "d_model"],
  heads: ["num_attention_heads", "n_head"],
  ffn: ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"],
  vocabulary: ["vocab_size"],
} as const;

/** The largest size in a config. No model has a larger layer, head count or vocabulary. */
const MOST = 2 ** 24;

/** Families whose feed-forward layer has no gate. */
const UNGATED: readonly string[] = [
  "gpt2",
  "gpt_neox",
  "gptj",
  "opt",
  "bloom",
  "falcon",
  "phi",
  "starcoder2",
  "mpt",
  "gpt_bigcode",
  "nemotron",
];
/** Activations of layers without a gate. An unknown family with one of them may have a gate or not. */
const PLAIN_ACTIVATIONS: readonly string[] = ["relu", "relu2", "gelu", "gelu_new", "gelu_fast", "quick_gelu"];
/** Families with a gate, although their activation doesn't show it. */
const GATED: readonly string[] = [
  "gemma",
  "gemma2",
  "gemma3",
  "gemma3_text",
  "bitnet",
  "cohere",
  "cohere2",
  "glm",
  "glm4",
];
/** Families whose output head shares the embedding's weights, unless the config says otherwise. */
const TIED: readonly string[] = [
  "gpt2",
  "gemma",
  "gemma2",
  "gemma3",
  "gemma3_text",
  "falcon",
  "bloom",
  "opt",
  "cohere",
  "cohere2",
  "gpt_bigcode",
];

/**
 * Reads a parsed config.json, or its `text_config` if it has one. Without `num_key_value_heads`, every query head has
 * its own KV head, as in transformers. Errors: InputError with the missing fields, or with the reason that the planner
 * can't plan the architecture.
 */
export function modelFromConfig(config: unknown, name: string): Model {
  if (!isObject(config)) {
    throw new InputError(
      `model ${name}: found ${
        JSON.stringify(config)?.slice(0, 40)
      }, expected a JSON object (a Hugging Face config.json)`,
    );
  }
  const text = isObject(config.text_config) ? { ...config, ...config.text_config } : config;
  refuseUnplanned(text, name);
  const family = String(text.model_type);
  const sizes: Partial<Record<keyof typeof FIELDS, number>> = {};
  const missing: string[] = [];
  for (const key of Object.keys(FIELDS) as (keyof typeof FIELDS)[]) {
    const value = FIELDS[key].map((field) => text[field]).find((v) => typeof v === "number");
    if (typeof value === "number") sizes[key] = whole(value, FIELDS[key][0], name);
    else if (key === "ffn" && ["gpt2", "falcon", "bloom"].includes(family) && sizes.width !== undefined) {
      sizes.ffn = 4 * sizes.width;
    } else missing.push(FIELDS[key][0]);
  }
  if (missing.length > 0) {
    throw new InputError(
      `model ${name}: the config has no ${missing.join(", no ")}; found ${
        Object.keys(text).slice(0, 12).join(", ") || "nothing"
      }`,
    );
  }
  // The first Qwen counts both halves of its gated layer in intermediate_size.
  if (family === "qwen") sizes.ffn = sizes.ffn! / 2;
  const { layers, width, heads, ffn, vocabulary } = sizes as Record<keyof typeof FIELDS, number>;
  const latent = latentFrom(text, name);
  const kvHeads = latent?.kvHeads ?? kvHeadsOf(text, heads, name);
  if (heads % kvHeads !== 0) {
    throw new InputError(
      `model ${name}: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  const headDim = latent?.headDim ??
    (typeof text.head_dim === "number" ? whole(text.head_dim, "head_dim", name) : width / heads);
  if (!Number.isInteger(headDim)) {
    throw new InputError(
      `model ${name}: the config has no head_dim, and hidden_size ${width} is not a multiple of ` +
        `num_attention_heads ${heads}`,
    );
  }
  const plain = [text.hidden_act, text.activation_function, text.hidden_activation].find((act) =>
    PLAIN_ACTIVATIONS.includes(String(act))
  );
  if (plain !== undefined && !UNGATED.includes(family) && !GATED.includes(family)) {
    throw new InputError(
      `model ${name}: hidden_act = ${JSON.stringify(plain)} in the family ${
        JSON.stringify(text.model_type ?? null)
      } does not say whether the feed-forward layer has a gate; expected a family that the planner knows: ${
        [...UNGATED, ...GATED].join(", ")
      }`,
    );
  }
  const { masks, note: maskNote } = masksFrom(text, layers, name);
  const notes: string[] = [
    ...(maskNote === undefined ? [] : [maskNote]),
    ...leftOut(text),
    ...unread(text),
  ];
  const { precision, note } = ffnPrecision(text.quantization_config);
  if (note !== undefined) notes.push(note);
  return {
    name,
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ...latent,
    ffn,
    ffnMatrices: UNGATED.includes(family) ? 2 : 3,
    vocabulary,
    tied: typeof text.tie_word_embeddings === "boolean" ? text.tie_word_embeddings : TIED.includes(family),
    ffnPrecision: precision,
    source: name,
    notes,
    ...(masks === undefined ? {} : { masks }),
  };
}

/**
 * The number of KV heads. Without one, every query head has its own KV head, as in transformers. Falcon counts them in
 * num_kv_heads, but only in its newer decoder.
 */
function kvHeadsOf(text: Record<string, unknown>, heads: number, name: string): number {
  for (
    const field of text.multi_query === true && text.new_decoder_architecture !== true
      ? ["num_key_value_heads"]
      : ["num_key_value_heads", "num_kv_heads"]
  ) {
    const value = text[field];
    if (typeof value === "number") return whole(value, field, name);
    if (value !== undefined && value !== null) {
      throw new InputError(`model ${name}: ${field}: found ${JSON.stringify(value)}, expected a whole number`);
    }
  }
  return text.multi_query === true ? 1 : heads;
}

function ffnPrecision(quantization: unknown): { precision: FfnPrecision; note?: string } {
  if (!isObject(quantization)) return { precision: "bf16" };
  const method = String(quantization.quant_method);
  const groups = isObject(quantization.config_groups) ? Object.values(quantization.config_groups) : [];
  const float8 = groups.length > 0 &&
    groups.every((group) =>
      isObject(group) && isObject(group.weights) && group.weights.num_bits === 8 && group.weights.type === "float"
    );
  if (/fp8/.test(method) || float8) {
    return {
      precision: "fp8",
      note: `quantization_config ${JSON.stringify(method)}: planned as fp8 feed-forward weights, with all else in bf16`,
    };
  }
  return { precision: "bf16", note: `quantization_config ${JSON.stringify(method)}: planned as bf16` };
}

function whole(value: number, field: string, name: string): number {
  if (!Number.isInteger(value) || value < 1 || value > MOST) {
    throw new InputError(`model ${name}: ${field}: found ${value}, expected a whole number from 1 to ${MOST}`);
  }
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
