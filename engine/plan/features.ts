/** Fields of a config.json that the planner doesn't know. Some refuse the model; for others the plan has a note. */
import { InputError } from "../errors.ts";
import { isLatent } from "./hf-latent.ts";
import { isKnownLayer } from "./hf-masks.ts";

type Config = Readonly<Record<string, unknown>>;

/**
 * Fields that mean another architecture, and what they mean. These are patterns, because families use different names
 * for the same thing. A number counts only if it is more than `above`.
 */
const UNPLANNED: readonly { readonly field: RegExp; readonly above: number; readonly means: string }[] = [
  { field: /expert/, above: 1, means: "a mixture of experts" },
  {
    field:
      /^mamba|^ssm|state_size$|^hybrid_|^rwkv|^lru_width$|^time_mix|^attn_layer_(period|offset|indices)$|^full_attn_idxs$/,
    above: 0,
    means: "state-space or recurrent layers",
  },
  {
    field: /^linear_(num|key|value|conv|attn)|^full_attention_interval$|^lightning_/,
    above: 0,
    means: "linear attention",
  },
  { field: /cross_att(entio)?n|^is_encoder_decoder$|^(num_)?encoder_layers$/, above: 0, means: "cross attention" },
  { field: /_per_layer$|^block_configs$/, above: 0, means: "sizes that differ by layer" },
  {
    field: /^num_kv_shared_layers$|^use_cla$|^cla_share_factor$|kv_reuse|yoco/,
    above: 0,
    means: "layers that share keys and values",
  },
  {
    field: /^index_(topk|n_heads|head_dim)$|^sparse_|^nsa_|^moba_|^dual_chunk_attention/,
    above: 0,
    means: "sparse attention",
  },
  { field: /^attn_type_list$|^attention_types$/, above: 0, means: "attention that differs by layer" },
  { field: /retention|retnet|hyena/, above: 0, means: "layers without softmax attention" },
  { field: /^attn_output_gate$/, above: 0, means: "gated attention" },
  { field: /^(attention_window|window_size|local_attention)$/, above: 0, means: "windows of attention" },
];

/** Parts of a config that don't describe the layers' architecture. */
const APART =
  /^(quantization_config|vision_config|audio_config|rope_scaling|rope_parameters|task_specific_params|generation_config|auto_map)$/;
/** Fields with a small effect that the planner leaves out, with a note. */
const LEFT_OUT: readonly (readonly [field: string, what: string])[] = [
  ["attn_logit_softcapping", "the planner leaves out the cap on scores"],
  ["alibi", "the planner leaves out its bias on scores"],
  ["parallel_attn", "the planner runs attention and feed-forward one after the other, not side by side"],
  ["use_parallel_residual", "the planner runs attention and feed-forward one after the other, not side by side"],
  ["num_nextn_predict_layers", "the planner leaves out layers that predict further tokens"],
  ["vision_config", "the planner plans only the text model"],
  ["audio_config", "the planner plans only the text model"],
];

/** Families whose layers are not softmax attention over a cache, or whose fields don't show what they are. */
const OTHER_FAMILIES = /rwkv|mamba|diffllama|retnet|hyena|jamba|griffin/i;
/** Fields of attention and layers that the planner reads, or that tell it nothing new. */
const READ_FIELDS = new RegExp(
  [
    /^(num_)?(hidden_)?layers$|^n_layers?$|^num_hidden_layers$/,
    /layer_?norm|norm/,
    /attention_(bias|dropout|multiplier|probs_dropout_prob)/,
    /attn_(bias|pdrop|dropout|implementation|logit_softcapping)|_attn_implementation/,
    /^(use_)?sliding_window|^max_window_layers$|^attention_chunk_size$|^local_attention_window$/,
    /layer_types?$|^(initial|final)|parallel_attn/,
    /num_attention_heads|query_pre_attn_scalar|num_nextn_predict_layers|layerdrop|pretraining/,
  ].map(({ source }) => source).join("|"),
);

/** Throws an InputError with the field's name if a plan of a dense model with softmax attention would be wrong. */
export function refuseUnplanned(config: Config, name: string, path = ""): void {
  const refuse = (field: string, said: string, means: string): never => {
    throw new InputError(
      `model ${name}: ${path}${field} = ${said} means ${means}; ` +
        "the planner knows only dense models with grouped-query or latent attention",
    );
  };
  if (OTHER_FAMILIES.test(String(config.model_type))) {
    refuse("model_type", show(config.model_type), "layers other than softmax attention over a cache");
  }
  if (config.mlp_gated === false) {
    refuse("mlp_gated", "false", "a feed-forward layer without a gate in a family that may have one");
  }
  if (config.position_embedding_type === "alibi") refuse("position_embedding_type", '"alibi"', "a bias on scores");
  if (
    typeof config.v_head_dim === "number" && typeof config.head_dim === "number" &&
    config.v_head_dim !== config.head_dim && !isLatent(config)
  ) {
    refuse("v_head_dim", show(config.v_head_dim), "a different head size for values than for keys");
  }
  for (const [field, value] of Object.entries(config)) {
    const unplanned = UNPLANNED.find((row) => row.field.test(field) && says(value, row.above));
    if (unplanned !== undefined && !(Array.isArray(value) && unplanned.means.startsWith("sizes") && allEqual(value))) {
      refuse(field, show(value), unplanned.means);
    }
    if (
      /^(num_attention_heads|num_key_value_heads|num_kv_heads|n_heads?|head_dim|intermediate_size|hidden_size)$/.test(
        field,
      ) &&
      Array.isArray(value)
    ) refuse(field, show(value), "sizes that differ by layer");
    if (/layer_types?$|^layers_block_type$|^block_types$|^layer_pattern$/.test(field) && Array.isArray(value)) {
      const other = value.find((type) => !isKnownLayer(String(type)));
      if (other !== undefined) {
        refuse(
          field,
          show(value),
          `layers of ${JSON.stringify(other)}, which are not softmax attention over the cache`,
        );
      }
    }
    if (isConfig(value) && !APART.test(field) && path.length < 40) refuseUnplanned(value, name, `${path}${field}.`);
  }
}

/** Notes on fields of attention and layers that the planner doesn't know and so leaves out. */
export function unread(config: Config): string[] {
  const known = new Set(LEFT_OUT.map(([field]) => field));
  return Object.entries(config).flatMap(([field, value]) =>
    /attn|attention|window|sparse|layer|gate/.test(field) && !READ_FIELDS.test(field) && !known.has(field) &&
      says(value, 0)
      ? [`${field} ${show(value)}: the planner doesn't know it and leaves it out`]
      : []
  );
}

/** Notes on fields with a small effect that the plan leaves out. */
export function leftOut(config: Config): string[] {
  return LEFT_OUT.flatMap((
    [field, what],
  ) => (says(config[field], 0)
    ? [`${field}${isConfig(config[field]) ? "" : ` ${show(config[field])}`}: ${what}`]
    : [])
  );
}

/** Whether a field is set: a number above `above`, true, or a text, list or object that is not empty. */
function says(value: unknown, above: number): boolean {
  if (typeof value === "number") return value > above;
  if (Array.isArray(value)) return value.length > 0;
  return isConfig(value)
    ? Object.keys(value).length > 0
    : value === true || (typeof value === "string" && value !== "");
}

function allEqual(values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === "number" && value === values[0]);
}

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

function isConfig(value: unknown): value is Config {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
