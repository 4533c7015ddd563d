/** What a layout keeps in each GPU's memory, and how many tokens of KV cache fit in the rest. */
import type { Variant } from "../ring/contract.ts";
import type { Sequence } from "../layout/shards.ts";
import { bytesOf } from "./gemm.ts";
import { elementsPerGpu, headsPerGpu } from "./heads.ts";
import {
  attentionWeights,
  type FfnPrecision,
  ffnWeights,
  latentWeights,
  type Model,
  vocabularyWeights,
} from "./models.ts";

/** Rows in a page of the KV cache. A sequence's rows on a rank fill whole pages. */
export const PAGE_ROWS = 128;

/**
 * Bytes of each GPU for the driver, the communication library and fragmentation. This is an assumption: the paper gives
 * no figure.
 */
export const RESERVE = 2e9;

/** A layout and a step, as far as memory depends on them. */
export interface MemoryInput {
  readonly model: Model;
  readonly tp: number;
  readonly cp: number;
  readonly ffn: FfnPrecision;
  /** Bytes of a KV element. */
  readonly kvBytes: number;
  readonly sequence: Sequence;
  /** B equal sequences. */
  readonly batch: number;
  /** Cached tokens of a sequence on the fullest rank; default: an even share. */
  readonly cachedOnFullest?: number;
  readonly variant: Variant;
  /** HBM size of a GPU, bytes. */
  readonly capacity: number;
}

/** Bytes of one GPU. */
export interface Memory {
  /** HBM size. */
  readonly capacity: number;
  /** The rank's share of the weights. */
  readonly weights: number;
  /** KV cache of all sequences in whole pages, with replicated KV heads. */
  readonly kv: number;
  /** The part of `kv` that holds no rows: the ends of last pages, and uneven shards. */
  readonly kvPadding: number;
  /** Activations of this rank's rows in one layer. */
  readonly activations: number;
  /** The ring's buffers: the travelling message twice, and in pass-Q also all partial results. */
  readonly ring: number;
  /** For the driver, the communication library and fragmentation: an assumption. */
  readonly reserve: number;
  /** The sum of all that is needed. */
  readonly total: number;
  /** Is `total` at most `capacity`? */
  readonly fits: boolean;
  /** Tokens of KV cache that the whole CP group can hold beside these weights, activations and buffers. */
  readonly kvCapacityTokens: number;
  /** One sentence: whether it fits, and the sizes. */
  readonly summary: string;
}

/**
 * Bytes of KV cache for one token on one GPU: `2 N_KV/TP D_H e layers`, with at least one KV head a GPU. If V is a part
 * of K, a GPU holds only K.
 */
export function kvBytesPerToken(m: Model, tp: number, kvBytes: number): number {
  return elementsPerGpu(m, headsPerGpu(m, tp)).kv * kvBytes * m.layers;
}

/**
 * Bytes of weights on one GPU: feed-forward in its precision and the rest in bf16, with replicated KV projections. CP
 * does not split the weights (Table 2).
 */
export function weightBytes(m: Model, tp: number, ffn: FfnPrecision): number {
  return m.layers * (attentionBytes(m, tp) + (bytesOf(ffn) * ffnWeights(m)) / tp) + (2 * vocabularyWeights(m)) / tp;
}

function attentionBytes(m: Model, tp: number): number {
  const { kv, replicas } = headsPerGpu(m, tp);
  if (m.latent !== undefined) {
    const { before, after } = latentWeights(m, m.latent, tp);
    return 2 * (before + after);
  }
  const extraKv = replicas > 1 ? 2 * m.width * m.headDim * (kv - m.kvHeads / tp) : 0;
  return (2 * attentionWeights(m)) / tp + 2 * extraKv;
}

/**
 * Bytes of one row (a token of a rank) at the peak of a layer, all in bf16. Residual, normed input and block output
 * take `3 D`. On top comes the larger of two: attention's Q, K, V and O, or the feed-forward layer's inner activations
 * (gate, up, and their product).
 */
export function activationBytesPerRow(m: Model, tp: number): number {
  const { q, kv, o } = elementsPerGpu(m, headsPerGpu(m, tp));
  const attention = q + kv + o;
  const inner = (m.ffnMatrices * m.ffn) / tp;
  return 2 * (3 * m.width + Math.max(attention, inner));
}

/** The memory of one GPU in a layout. */
export function memoryOf(i: MemoryInput): Memory {
  const heads = headsPerGpu(i.model, i.tp);
  const perToken = kvBytesPerToken(i.model, i.tp, i.kvBytes);
  const fresh = Math.ceil(i.sequence.new / i.cp);
  const cached = i.cachedOnFullest ?? Math.ceil(i.sequence.cached / i.cp);
  const rows = i.batch * fresh;
  const held = i.batch * (fresh + cached);
  const pages = i.batch * Math.ceil((fresh + cached) / PAGE_ROWS) * PAGE_ROWS;
  const exact = (i.batch * (i.sequence.new + i.sequence.cached)) / i.cp;
  const kv = pages * perToken;
  const weights = weightBytes(i.model, i.tp, i.ffn);
  const activations = rows * activationBytesPerRow(i.model, i.tp);
  const { q, o } = elementsPerGpu(i.model, heads);
  const ring = i.cp === 1
    ? 0
    : i.variant === "pass-kv"
    ? (2 * held * perToken) / i.model.layers
    : 2 * rows * 2 * q + i.cp * rows * (2 * o + 4 * heads.queries);
  const total = weights + kv + activations + ring + RESERVE;
  const free = i.capacity - weights - activations - ring - RESERVE;
  const kvCapacityTokens = Math.max(0, Math.floor(free / perToken) * i.cp);
  const gb = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const fits = total <= i.capacity;
  const parts = `weights ${gb(weights)}, KV ${gb(kv)}, activations ${gb(activations)}, ring ${gb(ring)}, reserve ${
    gb(RESERVE)
  }`;
  const summary = fits
    ? `fits: ${gb(total)} of ${gb(i.capacity)} a GPU (${parts}); room for ${kvCapacityTokens} tokens of KV`
    : `does not fit: needs ${gb(total)} a GPU, has ${gb(i.capacity)} (${parts})`;
  return {
    capacity: i.capacity,
    weights,
    kv,
    kvPadding: kv - exact * perToken,
    activations,
    ring,
    reserve: RESERVE,
    total,
    fits,
    kvCapacityTokens,
    summary,
  };
}
