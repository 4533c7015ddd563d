/** An experiment as input of the bridge's client. */
import type { Model } from "../../engine/plan.ts";
import type { LayerInput, SeededInput } from "../../engine/remote.ts";
import type { SeededBatch, Variant } from "../../engine/run.ts";
import type { RemoteExperiment } from "./model.ts";

/** GPUs of a rank in the paper's layout. The machine computes one GPU's share. */
export const TP = 8;

/** A transformer whose layer a CPU computes in seconds. One GPU of eight has 2 query heads and 1 KV head. */
export const SMALL_MODEL: Model = {
  name: "a small model",
  layers: 16,
  width: 1024,
  heads: 16,
  kvHeads: 8,
  headDim: 64,
  ffn: 4096,
  ffnMatrices: 3,
  vocabulary: 32_000,
  tied: false,
  ffnPrecision: "bf16",
  source: "made for this page",
  notes: [],
};

/** The tensors that both sides make from the seed. */
export function batchOf({ T, P, H, Hkv, D, causal, dtype, seed }: RemoteExperiment): SeededBatch {
  return { seed, sequences: [{ new: T, cached: P }], heads: H, kvHeads: Hkv, headDim: D, causal, dtype };
}

/** A seeded attention of one variant. */
export function attendInput(experiment: RemoteExperiment, variant: Variant): SeededInput {
  const { N, link } = experiment;
  return { ...batchOf(experiment), ranks: N, variant, ...(link === null ? {} : { link }) };
}

/** A layer of one variant, for one GPU of eight. */
export function layerInput({ T, P, N, dtype, link, seed, model }: RemoteExperiment, variant: Variant): LayerInput {
  const { width: dModel, heads, kvHeads, headDim, ffn, layers } = SMALL_MODEL;
  return {
    tokens: T,
    cached: P,
    ranks: N,
    variant,
    dtype,
    seed,
    tp: TP,
    ...(link === null ? {} : { link }),
    ...(model === "small" ? { model: { dModel, heads, kvHeads, headDim, ffn, layers } } : {}),
  };
}
