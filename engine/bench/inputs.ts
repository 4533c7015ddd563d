/** The measured experiments: their shapes, seeded tensors, and work. */
import type { FixedInput } from "../cluster/in-process.ts";
import { shapeOf } from "../cluster/shape.ts";
import type { AttendInput } from "../cluster/types.ts";
import type { Shape } from "../ring/chunk.ts";
import type { Sequence } from "../layout/shards.ts";
import { shard } from "../layout/shards.ts";
import { pairsBetween } from "../layout/pairs.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import { seededRows } from "../tensor/seeded.ts";

/** H, Hkv, D. */
export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Head shapes: eight query heads a KV head at D 128, as in large models, and four at D 64. */
export const HEADS: readonly Heads[] = [{ heads: 8, kvHeads: 1, headDim: 128 }, { heads: 8, kvHeads: 2, headDim: 64 }];

/** Kinds of attention, by what is cached and what rows see. */
export type Mask = "full" | "causal" | "partial" | "decode";

/** One measured attention. */
export interface Measured extends Heads {
  readonly mask: Mask;
  /** T and P. */
  readonly tokens: number;
  readonly cached: number;
  readonly causal: boolean;
}

/** Cached tokens of decode for each token of a size: decode has a long cache. */
const DECODE_CACHE = 16;

/**
 * The attentions of one size: whole prefills of `size` tokens (full, causal), a prefill of the last quarter, and one
 * token after 16 times as many.
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

/** Seeded tensors of a batch; `mask`: default causal. */
export function inputOf(
  { heads, kvHeads, headDim, mask, sequences }: Heads & {
    readonly mask?: AttendInput["mask"];
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
    mask,
  };
}

/** Seeded tensors of a measured attention. */
export function inputOfMeasured(m: Measured): FixedInput {
  return inputOf({ ...m, mask: maskOf(m), sequences: [{ new: m.tokens, cached: m.cached }] });
}

/** The shape of an input whose operands are f32. */
export function f32Shape(
  input: Omit<FixedInput, "q" | "k" | "v">,
): Shape {
  return shapeOf(input, "pass-kv", "f32");
}

const maskOf = ({ causal }: Measured) => ({ kind: causal ? "causal" : "full" } as const);

/** FLOPs of an attention: 4 D for each query head and each query-key pair that the mask shows. */
export function flopsOf(m: Measured): number {
  const { heads, headDim, tokens, cached } = m;
  const { queries, keys } = shard([{ new: tokens, cached }], 1);
  return 4 * headDim * heads * pairsBetween(queries[0], keys[0], maskOf(m));
}

/** Least bytes that an attention has to move: Q (f32), K and V (`kv`) once in, O and LSE (f32) once out. */
export function bytesOf({ heads, kvHeads, headDim, tokens, cached }: Measured, kv: DType = "f32"): number {
  return 4 * (2 * tokens * heads * headDim + tokens * heads) + bytesPer(kv) * 2 * (tokens + cached) * kvHeads * headDim;
}
