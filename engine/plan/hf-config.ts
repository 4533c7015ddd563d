/** Any Hugging Face config.json of a dense decoder-only transformer as a model. */
import { InputError } from "../errors.ts";
import type { FfnPrecision, Model } from "./models.ts";

/** Names that a size has in configs of different families. */
const FIELDS = {
  layers: ["num_hidden_layers", "n_layer", "num_layers"],
  width: ["hidden_size", "n_embd", "d_model"],
  heads: ["num_attention_heads", "n_head"],
  ffn: ["intermediate_size", "n_inner", "ffn_dim"],
  vocabulary: ["vocab_size"],
} as const;

/** Fields that say a model is not dense GQA attention over the whole context, and why a plan would be wrong. */
const UNPLANNED: readonly (readonly [field: string, why: string])[] = [
  ["num_local_experts", "a mixture of experts"],
  ["num_experts", "a mixture of experts"],
  ["n_routed_experts", "a mixture of experts"],
  ["kv_lora_rank", "multi-head latent attention"],
  ["mamba_d_state", "state-space layers"],
  ["ssm_cfg", "state-space layers"],
];

/** Families whose feed-forward layer has no gate. */
const UNGATED: readonly string[] = ["gpt2", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "starcoder2", "mpt", "gpt_bigcode"];

/**
 * Reads a parsed config.json (its `text_config` when it has one). Without `num_key_value_heads` every query head has its own
 * KV head, as in transformers. Errors: InputError naming the fields that are missing, or why the architecture is not planned.
 */
export function modelFromConfig(config: unknown, name: string): Model {
  if (!isObject(config)) throw new InputError(`model ${name}: expected a JSON object (a Hugging Face config.json), found ${JSON.stringify(config)?.slice(0, 40)}`);
  const text = isObject(config.text_config) ? { ...config, ...config.text_config } : config;
  for (const [field, why] of UNPLANNED) {
    const value = text[field];
    if (typeof value === "number" && value > 1) throw new InputError(`model ${name}: ${field} = ${value} means ${why}; the planner knows dense models with grouped-query attention only`);
  }
  const sizes: Partial<Record<keyof typeof FIELDS, number>> = {};
  const missing: string[] = [];
  for (const key of Object.keys(FIELDS) as (keyof typeof FIELDS)[]) {
    const value = FIELDS[key].map((field) => text[field]).find((v) => typeof v === "number");
    if (typeof value === "number") sizes[key] = whole(value, FIELDS[key][0], name);
    else if (key === "ffn" && text.model_type === "gpt2" && sizes.width !== undefined) sizes.ffn = 4 * sizes.width;
    else missing.push(FIELDS[key][0]);
  }
  if (missing.length > 0) throw new InputError(`model ${name}: the config has no ${missing.join(", no ")}; found ${Object.keys(text).slice(0, 12).join(", ") || "nothing"}`);
  const { layers, width, heads, ffn, vocabulary } = sizes as Record<keyof typeof FIELDS, number>;
  const kvHeads = typeof text.num_key_value_heads === "number" ? whole(text.num_key_value_heads, "num_key_value_heads", name) : text.multi_query === true ? 1 : heads;
  if (heads % kvHeads !== 0) throw new InputError(`model ${name}: num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`);
  const headDim = typeof text.head_dim === "number" ? whole(text.head_dim, "head_dim", name) : width / heads;
  if (!Number.isInteger(headDim)) throw new InputError(`model ${name}: there is no head_dim, and hidden_size ${width} is not a multiple of num_attention_heads ${heads}`);
  const notes: string[] = [];
  const window = text.sliding_window;
  if (typeof window === "number" && text.use_sliding_window !== false) notes.push(`sliding_window ${window} is planned as full attention`);
  const { precision, note } = ffnPrecision(text.quantization_config);
  if (note !== undefined) notes.push(note);
  return {
    name,
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ffn,
    ffnMatrices: UNGATED.includes(String(text.model_type)) ? 2 : 3,
    vocabulary,
    tied: text.tie_word_embeddings === true,
    ffnPrecision: precision,
    source: name,
    notes,
  };
}

function ffnPrecision(quantization: unknown): { precision: FfnPrecision; note?: string } {
  if (!isObject(quantization)) return { precision: "bf16" };
  const method = String(quantization.quant_method);
  if (/fp8/.test(method)) return { precision: "fp8" };
  return { precision: "bf16", note: `quantization ${JSON.stringify(method)} is planned as bf16` };
}

function whole(value: number, field: string, name: string): number {
  if (!Number.isInteger(value) || value < 1) throw new InputError(`model ${name}: ${field}: found ${value}, expected a whole number of at least 1`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
