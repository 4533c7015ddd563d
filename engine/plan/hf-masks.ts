/** Which layers of a Hugging Face config.json see a window or a chunk of the context. */
import { InputError } from "../errors.ts";
import { CAUSAL, type Mask } from "../layout/mask.ts";
import type { MaskedLayers } from "./models.ts";

type Config = Readonly<Record<string, unknown>>;

/** Layer types whose attention sees all tokens. We refuse any type in none of these sets. */
const FULL = new Set(["full_attention", "attention", "global_attention", "global"]);
const WINDOWED = new Set(["sliding_attention", "local_attention", "local"]);
const CHUNKED = new Set(["chunked_attention"]);

/** Whether the planner knows a layer type. */
export function isKnownLayer(type: string): boolean {
  return FULL.has(type) || WINDOWED.has(type) || CHUNKED.has(type);
}

/**
 * Families in which every n-th layer sees all tokens and the others don't, unless the config has layer_types: the default
 * of each family's configuration class in transformers.
 */
const PATTERNS: Readonly<Record<string, number>> = {
  gemma2: 2,
  gemma3: 6,
  gemma3_text: 6,
  cohere2: 4,
  llama4: 4,
  llama4_text: 4,
};
/** Families whose sliding_window holds for every layer. */
const EVERY_LAYER = ["mistral", "mixtral", "ministral", "phi3", "starcoder2"];
/** Families in which a window needs use_sliding_window, and begins at layer max_window_layers. */
const SWITCHED = /^qwen[23]/;

/** The layers by mask, the first layer's first, with a note if the config doesn't say which layers have the window. */
export interface FoundMasks {
  /** Undefined if all layers are causal. */
  readonly masks?: readonly MaskedLayers[];
  readonly note?: string;
}

/** Reads the masks of `layers` layers. Errors: InputError with the field that is missing or wrong. */
export function masksFrom(config: Config, layers: number, name: string): FoundMasks {
  const { note, types } = layerTypes(config, layers, name);
  const found: { mask: Mask; layers: number }[] = [];
  for (const type of types) {
    const mask = maskOfType(config, type, name);
    const known = found.find((kind) => kind.mask.kind === mask.kind);
    if (known === undefined) found.push({ mask, layers: 1 });
    else known.layers++;
  }
  return {
    ...(found.every(({ mask }) => mask.kind === "causal") ? {} : { masks: found }),
    ...(note === undefined ? {} : { note }),
  };
}

function layerTypes(config: Config, layers: number, name: string): { types: readonly string[]; note?: string } {
  const all = (type: string) => new Array<string>(layers).fill(type);
  if (Array.isArray(config.layer_types)) {
    const types = config.layer_types.map(String);
    if (types.length === layers) return { types };
    if (new Set(types).size === 1) return { types: all(types[0]) };
    throw new InputError(
      `model ${name}: layer_types: found ${types.length} layers, expected one type for each of the ${layers} layers`,
    );
  }
  const type = sizeOf(config, "chunked_attention") !== undefined
    ? "chunked_attention"
    : sizeOf(config, "sliding_attention") !== undefined
    ? "sliding_attention"
    : "full_attention";
  if (type === "full_attention") return { types: all(type) };
  const family = String(config.model_type);
  const every = typeof config.sliding_window_pattern === "number" ? config.sliding_window_pattern : PATTERNS[family];
  if (every !== undefined) {
    return { types: all(type).map((local, i) => (i + 1) % every === 0 ? "full_attention" : local) };
  }
  if (SWITCHED.test(family)) {
    const first = typeof config.max_window_layers === "number" ? config.max_window_layers : 0;
    return {
      types: all(type).map((local, i) => config.use_sliding_window === true && i >= first ? local : "full_attention"),
    };
  }
  return EVERY_LAYER.includes(family) ? { types: all(type) } : {
    types: all(type),
    note: `${fieldOf(config, type)} ${
      sizeOf(config, type)
    }: planned in every layer, because the config has no layer_types`,
  };
}

function maskOfType(config: Config, type: string, name: string): Mask {
  if (FULL.has(type)) return CAUSAL;
  const size = sizeOf(config, type);
  if (size === undefined) {
    throw new InputError(
      `model ${name}: layer_types has ${type}, but the config has no ${FIELDS[CHUNKED.has(type) ? 1 : 0][0]}; add it`,
    );
  }
  return { kind: CHUNKED.has(type) ? "chunk" : "window", size };
}

/** The fields that give the size of a window, and of a chunk. */
const FIELDS = [["sliding_window", "sliding_window_size", "local_attention_window"], ["attention_chunk_size"]] as const;

/** The field that says how many tokens a layer of a local type sees. */
function fieldOf(config: Config, type: string): string | undefined {
  const chunked = CHUNKED.has(type);
  if (!chunked && config.use_sliding_window === false) return undefined;
  return FIELDS[chunked ? 1 : 0].find((field) => Number.isInteger(config[field]) && (config[field] as number) > 0);
}

/** Tokens that a layer of a local type sees; undefined if the config doesn't say. */
function sizeOf(config: Config, type: string): number | undefined {
  const field = fieldOf(config, type);
  return field === undefined ? undefined : config[field] as number;
}
