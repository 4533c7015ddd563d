/** Reads multi-head latent attention (MLA) from a Hugging Face config.json, as DeepSeek's models have it. */
import { InputError } from "../errors.ts";
import type { Latent, Model } from "./models.ts";

type Config = Readonly<Record<string, unknown>>;

const SIZES = ["kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"] as const;

/** Whether a config has latent attention. */
export function isLatent(config: Config): boolean {
  return typeof config.kv_lora_rank === "number" && config.kv_lora_rank > 0;
}

/**
 * The attention of a latent model in its absorbed form, or undefined for another. There, every query head reads one row a
 * token: `kv_lora_rank` elements that are also V, then `qk_rope_head_dim` with the position. Errors: InputError.
 */
export function latentFrom(
  config: Config,
  name: string,
): Pick<Model, "kvHeads" | "headDim" | "valueDim" | "valuesInKeys" | "latent"> | undefined {
  if (!isLatent(config)) {
    const without = ["q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"].find((field) => Number(config[field]) > 0);
    if (without === undefined) return undefined;
    throw new InputError(
      `model ${name}: ${without} = ${
        config[without]
      } means latent attention, but the config has no kv_lora_rank; add it`,
    );
  }
  const wrong = SIZES.find((field) => !(Number.isInteger(config[field]) && (config[field] as number) >= 1));
  if (wrong !== undefined) {
    throw new InputError(
      `model ${name}: ${wrong}: found ${JSON.stringify(config[wrong]) ?? "nothing"}, expected a whole number of at ` +
        "least 1 beside kv_lora_rank",
    );
  }
  const [kvRank, rope, nope, value] = SIZES.map((field) => config[field] as number);
  const latent: Latent = { queryRank: Number(config.q_lora_rank ?? 0), kvRank, nope, rope, value };
  return { kvHeads: 1, headDim: kvRank + rope, valueDim: kvRank, valuesInKeys: true, latent };
}
