/** The experiments that are measured: shapes by name, seeded tensors, the work they hold. */
import type { FixedInput } from "../cluster/in-process.ts";
import type { Shape } from "../ring/chunk.ts";
import type { Sequence } from "../layout/shards.ts";
import { shard } from "../layout/shards.ts";
import { visibility } from "../layout/visibility.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import { seededRows } from "../tensor/seeded.ts";

/** H, Hkv, D. */
export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** What is measured: an eighth of the KV heads at D 128, as large models have, and a quarter at D 64. */
export const HEADS: readonly Heads[] = [{ heads: 8, kvHeads: 1, headDim: 128 }, { heads: 8, kvHeads: 2, headDim: 64 }];

/** Kinds of attention by what is cached and what is seen. */
export type Mask = "full" | "causal" | "partial" | "decode";

/** One attention that is measured. */
export interface Measured extends Heads {
  readonly mask: Mask;
  /** T and P. */
  readonly tokens: number;
  readonly cached: number;
  readonly causal: boolean;
}

/** Cached tokens of decode for each token of a size: its cache is long. */
const DECODE_CACHE = 16;

/**
 * The attentions of one size: whole prefills of `size` tokens full and causal, a prefill of its last quarter, one token
 * after 16 times as many.
 */
export function measuredAt(size: number, heads: Heads): readonly Measured[] {
  const quarter = Math.max(1, Math.floor(size / 4));
  return [
    { ...heads, mask: "full", tokens: size, cached: 0, causal: false },
    { ...heads, mask: "causal", tokens: size, cached: 0, causal: true },
    { ...heads, mask: "partial", tokens: quarter, cached: size - quarter, causal: true },
    { ...heads, mask: "decode", tokens: 1, cached: DECODE_CACHE * size - 1, causal: true },
  ];
}

/** Seeded tensors of a batch. */
export function inputOf(
  { heads, kvHeads, headDim, causal, sequences }: Heads & {
    readonly causal: boolean;
    readonly sequences: readonly Sequence[];
  },
): FixedInput {
  const fresh = sequences.reduce((sum, s) => sum + s.new, 0);
  const all = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  const tensor = (name: "q" | "k" | "v", rows: number, h: number) => seededRows(7, name, 0, rows, h * headDim);
  return {
    q: tensor("q", fresh, heads),
    k: tensor("k", all, kvHeads),
    v: tensor("v", all, kvHeads),
    heads,
    kvHeads,
    headDim,
    sequences,
    causal,
  };
}

/** Seeded tensors of one that is measured. */
export function inputOfMeasured(m: Measured): FixedInput {
  return inputOf({ ...m, sequences: [{ new: m.tokens, cached: m.cached }] });
}

/** What a device is told of an input whose operands are f32. */
export function shapeOf(
  { heads, kvHeads, headDim, causal = true, scale = 1 / Math.sqrt(headDim) }: Omit<FixedInput, "q" | "k" | "v">,
): Shape {
  return { heads, kvHeads, headDim, scale, causal, q: "f32", kv: "f32" };
}

/** FLOPs of an attention: 4 D a visible query-key pair and query head; what masks hide is not counted. */
export function flopsOf({ heads, headDim, causal, tokens, cached }: Measured): number {
  const { queries, keys } = shard([{ new: tokens, cached }], 1);
  return 4 * headDim * heads * visibility(queries[0], keys[0], causal).pairs;
}

/** Bytes that an attention must move at least: Q (f32), K and V (`kv`) read once, O and LSE (f32) written once. */
export function bytesOf({ heads, kvHeads, headDim, tokens, cached }: Measured, kv: DType = "f32"): number {
  return 4 * (2 * tokens * heads * headDim + tokens * heads) + bytesPer(kv) * 2 * (tokens + cached) * kvHeads * headDim;
}
