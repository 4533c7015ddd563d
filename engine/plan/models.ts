/** Dense models as data: the sizes of a transformer that a plan needs, and the models known by name. */
import { InputError } from "../errors.ts";
import { CAUSAL, type Mask } from "../layout/mask.ts";

/** How the feed-forward weights are stored: row-wise FP8 (one byte a weight) or bf16. Other weights are bf16. */
export type FfnPrecision = "fp8" | "bf16";

/** Layers that have the same mask. */
export interface MaskedLayers {
  /** What a query sees in them. */
  readonly mask: Mask;
  /** How many. */
  readonly layers: number;
}

/** The projections of multi-head latent attention, which K's row of `kvRank + rope` elements comes from and goes to. */
export interface Latent {
  /** Rank of the queries' projection; 0 if it has none. */
  readonly queryRank: number;
  /** Elements of the latent row that K and V share: Dv of the absorbed form. */
  readonly kvRank: number;
  /** Elements of a head's query and key without a position. */
  readonly nope: number;
  /** Those with one. */
  readonly rope: number;
  /** Elements of a head's value before the output product. */
  readonly value: number;
}

/** A dense decoder-only transformer with grouped-query or multi-head latent attention. */
export interface Model {
  /** The name that findModel takes. */
  readonly name: string;
  /** Transformer layers. */
  readonly layers: number;
  /** D, the width of the residual stream. */
  readonly width: number;
  /** N_H. */
  readonly heads: number;
  /** N_KV. */
  readonly kvHeads: number;
  /** D_H of Q and K. With latent attention, of its absorbed form. */
  readonly headDim: number;
  /** Dv, of V and O; default D_H. */
  readonly valueDim?: number;
  /** V is the first Dv elements of each row of K, so one row is held and sent, not two. */
  readonly valuesInKeys?: boolean;
  /** Set if attention is latent, planned in its absorbed form: one KV head, and V in K. */
  readonly latent?: Latent;
  /** Inner width of the feed-forward layer. */
  readonly ffn: number;
  /** Matrices of the feed-forward layer: 3 with a gate (gate, up, down), 2 without. */
  readonly ffnMatrices: 2 | 3;
  /** Rows of the embedding. */
  readonly vocabulary: number;
  /** The output head shares the embedding's weights. */
  readonly tied: boolean;
  /** How the feed-forward weights are stored, unless a plan says otherwise. */
  readonly ffnPrecision: FfnPrecision;
  /** The source of these figures. */
  readonly source: string;
  /** What a plan of this model leaves out, with the config's fields. */
  readonly notes: readonly string[];
  /** Set if some layers have another mask than causal: all layers by mask, the first layer's first. */
  readonly masks?: readonly MaskedLayers[];
}

type ModelRow = readonly [
  name: string,
  layers: number,
  width: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  ffn: number,
  vocabulary: number,
  tied: boolean,
  repository: string,
];

/** Sizes from each model's config.json on Hugging Face. */
const ROWS: readonly ModelRow[] = [
  ["llama3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, true, "meta-llama/Llama-3.2-1B"],
  ["llama3-8b", 32, 4096, 32, 8, 128, 14336, 128256, false, "meta-llama/Llama-3.1-8B"],
  ["llama3-70b", 80, 8192, 64, 8, 128, 28672, 128256, false, "meta-llama/Llama-3.1-70B"],
  ["llama3-405b", 126, 16384, 128, 8, 128, 53248, 128256, false, "meta-llama/Llama-3.1-405B"],
  ["mistral-7b", 32, 4096, 32, 8, 128, 14336, 32768, false, "mistralai/Mistral-7B-v0.3"],
  ["mistral-large-2", 88, 12288, 96, 8, 128, 28672, 32768, false, "mistralai/Mistral-Large-Instruct-2407"],
  ["qwen2.5-7b", 28, 3584, 28, 4, 128, 18944, 152064, false, "Qwen/Qwen2.5-7B"],
  ["qwen2.5-32b", 64, 5120, 40, 8, 128, 27648, 152064, false, "Qwen/Qwen2.5-32B"],
  ["qwen2.5-72b", 80, 8192, 64, 8, 128, 29568, 152064, false, "Qwen/Qwen2.5-72B"],
  ["qwen3-8b", 36, 4096, 32, 8, 128, 12288, 151936, false, "Qwen/Qwen3-8B"],
  ["qwen3-32b", 64, 5120, 64, 8, 128, 25600, 151936, false, "Qwen/Qwen3-32B"],
  ["gemma3-12b", 48, 3840, 16, 8, 256, 15360, 262208, true, "google/gemma-3-12b-it"],
  ["gemma3-27b", 62, 5376, 32, 16, 128, 21504, 262208, true, "google/gemma-3-27b-it"],
];

/** Models in which most layers see a window, and every n-th layer all tokens. */
const WINDOWS: Readonly<Record<string, { readonly size: number; readonly every: number }>> = {
  "gemma3-12b": { size: 1024, every: 6 },
  "gemma3-27b": { size: 1024, every: 6 },
};

function windowsOf(name: string, layers: number): Pick<Model, "masks"> {
  if (WINDOWS[name] === undefined) return {};
  const { size, every } = WINDOWS[name];
  const full = Math.floor(layers / every);
  return { masks: [{ mask: { kind: "window", size }, layers: layers - full }, { mask: CAUSAL, layers: full }] };
}

/** The models known by name. Llama 3 405B stores its feed-forward weights in FP8, as in the paper (Table 9). */
export const MODELS: readonly Model[] = ROWS.map((
  [name, layers, width, heads, kvHeads, headDim, ffn, vocabulary, tied, repository],
) => ({
  name,
  layers,
  width,
  heads,
  kvHeads,
  headDim,
  ffn,
  ffnMatrices: 3,
  vocabulary,
  tied,
  ffnPrecision: name === "llama3-405b" ? "fp8" : "bf16",
  source: `https://huggingface.co/${repository}/blob/main/config.json`,
  notes: [],
  ...windowsOf(name, layers),
}));

/** The model of that name. Errors: InputError with the known names. */
export function findModel(name: string): Model {
  const found = MODELS.find((m) => m.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(
      `model: found ${JSON.stringify(name)}, expected one of ${
        MODELS.map((m) => m.name).join(", ")
      }, or the path of a Hugging Face config.json`,
    );
  }
  return found;
}

/** All layers by mask. */
export function masksOf(m: Model): readonly MaskedLayers[] {
  return m.masks ?? [{ mask: CAUSAL, layers: m.layers }];
}

/**
 * Weights of one layer's attention that a GPU of `tp` holds, before the attention and after it. In latent attention, the
 * projections into ranks are on every GPU, and the value's half of the KV projection comes after the attention.
 */
export function latentWeights(
  m: Model,
  latent: Latent,
  tp: number,
): { readonly before: number; readonly after: number } {
  const { queryRank, kvRank, nope, rope, value } = latent;
  const heads = m.heads / tp;
  const down = m.width * (queryRank + kvRank + rope);
  return {
    before: down + (queryRank || m.width) * heads * (nope + rope) + heads * nope * kvRank,
    after: heads * value * (kvRank + m.width),
  };
}

/** Weights of one layer's attention: Wq, Wk, Wv and Wo. */
export function attentionWeights(m: Model): number {
  if (m.latent !== undefined) {
    const { before, after } = latentWeights(m, m.latent, 1);
    return before + after;
  }
  return m.width * (m.heads + 2 * m.kvHeads) * m.headDim + m.heads * m.headDim * m.width;
}

/** Weights of one layer's feed-forward block. */
export function ffnWeights(m: Model): number {
  return m.ffnMatrices * m.width * m.ffn;
}

/** Weights of the embedding and the output head. */
export function vocabularyWeights(m: Model): number {
  return (m.tied ? 1 : 2) * m.vocabulary * m.width;
}

/** W, all weights except norms and biases, which are under a thousandth. */
export function weightCount(m: Model): number {
  return m.layers * (attentionWeights(m) + ffnWeights(m)) + vocabularyWeights(m);
}
