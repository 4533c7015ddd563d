/**
 * Golden vectors: named cases with their inputs, the right O and LSE, and every rank's and hop's partial results, all in
 * float64 and rounded once. A case never changes; a new one gets a new name.
 */
import type { Mask } from "../../layout/mask.ts";
import { PADDING } from "../../layout/catalog.ts";
import type { Sequence } from "../../layout/shards.ts";
import type { Variant } from "../../ring/contract.ts";
import { type DType, fromBytes, toBytes } from "../../tensor/dtype.ts";
import { seededRows } from "../../tensor/seeded.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Problem } from "./problem.ts";
import { Rows } from "./row.ts";
import { Setting } from "./setting.ts";

/** The version of all vectors: it rises if a case's numbers ever have to. */
export const VECTORS_VERSION = 1;

/** What a case computes. */
export interface VectorCase {
  readonly name: string;
  /** Why it is there. */
  readonly what: string;
  readonly sequences: readonly Sequence[];
  readonly ranks: number;
  readonly variant: Variant;
  readonly layout: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly mask: Mask;
  /** The logits, one a head. */
  readonly sinks?: readonly number[];
  /** How q, k and v are stored: their values are exact in it. */
  readonly dtype: DType;
}

const GQA = { heads: 4, kvHeads: 2, headDim: 32 } as const;
const CAUSAL: Mask = { kind: "causal" };

function ringCase(
  ranks: number,
  variant: Variant,
  more: Partial<VectorCase> & Pick<VectorCase, "name" | "what">,
): VectorCase {
  return {
    sequences: [{ new: 48, cached: 0 }],
    ranks,
    variant,
    layout: "ringside",
    ...GQA,
    mask: CAUSAL,
    dtype: "f32",
    ...more,
  };
}

/** Every case. */
export const VECTORS: readonly VectorCase[] = [
  ...[1, 2, 4, 8].flatMap((N) => [
    ringCase(N, "pass-kv", { name: `full-prefill-pass-kv-${N}`, what: `full prefill, pass-KV, ${N} ranks` }),
    ringCase(N, "pass-q", { name: `full-prefill-pass-q-${N}`, what: `full prefill, pass-Q, ${N} ranks` }),
  ]),
  ringCase(3, "pass-kv", {
    name: "uneven-pass-kv-3",
    what: "61 tokens on 3 ranks: no length divides",
    sequences: [{ new: 61, cached: 0 }],
  }),
  ringCase(4, "pass-q", {
    name: "uneven-cached-pass-q-4",
    what: "29 new after 35 cached tokens on 4 ranks: masks align bottom-right",
    sequences: [{ new: 29, cached: 35 }],
  }),
  ringCase(4, "pass-kv", {
    name: "partial-prefill-pass-kv-4",
    what: "16 new after 48 cached tokens",
    sequences: [{ new: 16, cached: 48 }],
  }),
  ringCase(2, "pass-kv", {
    name: "fused-batch-pass-kv-2",
    what: "three sequences in one batch: 40 new, 12 new after 20 cached, 1 new after 7 cached",
    sequences: [{ new: 40, cached: 0 }, { new: 12, cached: 20 }, { new: 1, cached: 7 }],
  }),
  ringCase(4, "pass-q", {
    name: "decode-pass-q-4",
    what: "one new token of each of three sequences (Algorithm 4's arithmetic)",
    sequences: [30, 17, 44].map((cached) => ({ new: 1, cached })),
  }),
  ringCase(8, "pass-kv", {
    name: "empty-ranks-pass-kv-8",
    what: "5 tokens on 8 ranks: some ranks hold none, and LSE of such a partial is -inf",
    sequences: [{ new: 5, cached: 0 }],
  }),
  ringCase(2, "pass-kv", {
    name: "multi-head-pass-kv-2",
    what: "as many KV heads as query heads",
    heads: 4,
    kvHeads: 4,
  }),
  ringCase(2, "pass-q", {
    name: "multi-query-pass-q-2",
    what: "one KV head for eight query heads",
    heads: 8,
    kvHeads: 1,
  }),
  ringCase(2, "pass-kv", {
    name: "full-mask-pass-kv-2",
    what: "no mask: every query sees every key",
    mask: { kind: "full" },
  }),
  ringCase(4, "pass-kv", {
    name: "window-pass-kv-4",
    what: "a window of 16: a query at position p sees p-15 to p",
    mask: { kind: "window", size: 16 },
  }),
  ringCase(4, "pass-q", {
    name: "window-sink-tokens-pass-q-4",
    what: "a window of 8, and the first 4 tokens",
    mask: { kind: "window", size: 8, sinkTokens: 4 },
  }),
  ringCase(4, "pass-kv", {
    name: "chunk-pass-kv-4",
    what: "chunks of 24: a query sees its own chunk, up to itself",
    mask: { kind: "chunk", size: 24 },
  }),
  ringCase(4, "pass-kv", {
    name: "sinks-pass-kv-4",
    what: "learned sinks of -50, 0, 1.5 and 50 beside a causal mask; LSE includes them, and partials do not",
    sinks: [-50, 0, 1.5, 50],
  }),
  ringCase(4, "pass-kv", {
    name: "window-sinks-pass-kv-4",
    what: "a window of 16 with sinks, as in GPT-OSS",
    mask: { kind: "window", size: 16 },
    sinks: [0.5, -1, 2, 0],
  }),
  ringCase(4, "pass-kv", { name: "bf16-pass-kv-4", what: "q, k and v in bf16", dtype: "bf16" }),
  ringCase(4, "pass-kv", {
    name: "te-pass-kv-4",
    what: "Transformer Engine's padded shards of 50 tokens",
    layout: "te",
    sequences: [{ new: 50, cached: 0 }],
  }),
  ringCase(4, "pass-kv", { name: "striped-pass-kv-4", what: "striped shards", layout: "striped" }),
];

/** A case's tensors by name. Shapes: see the manifest. */
export function vectorTensors(one: VectorCase): Record<string, Tensor> {
  const { sequences, heads, kvHeads, headDim: D, dtype } = one;
  const rows = sequences.reduce((sum, s) => sum + s.new, 0);
  const keys = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  // Seeded values are exact in 16 bits too. The seed is the case's name.
  const seed = [...one.name].reduce(
    (hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 16_777_619) >>> 0,
    2_166_136_261,
  );
  const tensor = (shape: readonly number[], data: Float32Array, as: DType = "f32"): Tensor => ({
    shape,
    dtype: as,
    data,
  });
  const make = (name: "q" | "k" | "v", count: number, h: number) => {
    const made = seededRows(seed, name, 0, count, h * D);
    return fromBytes(toBytes(made, dtype), dtype);
  };
  const sinks = one.sinks && Float32Array.from(one.sinks);
  const problem: Problem = {
    ...one,
    q: make("q", rows, heads),
    k: make("k", keys, kvHeads),
    v: make("v", keys, kvHeads),
    sinks,
  };
  const setting = new Setting(one.layout, one.ranks, one.variant, sequences);
  const exact = new Rows(problem);
  const out: Record<string, Tensor> = {
    q: tensor([rows, heads, D], problem.q, dtype),
    k: tensor([keys, kvHeads, D], problem.k, dtype),
    v: tensor([keys, kvHeads, D], problem.v as Float32Array, dtype),
    positions: tensor(
      [rows],
      Float32Array.from(sequences.flatMap((s) => Array.from({ length: s.new }, (_, i) => s.cached + i))),
    ),
    ...(sinks && { sinks: tensor([heads], sinks) }),
  };
  const part = (own: Int32Array, held?: (typeof setting.keys)[number]) => {
    const o = new Float32Array(own.length * heads * D);
    const lse = new Float32Array(own.length * heads).fill(-Infinity);
    own.forEach((row, place) => {
      if (row === PADDING) return;
      for (let h = 0; h < heads; h++) {
        const values = exact.attend(row, h, {
          keys: exact.seen(row, exact.mask, held),
          ...(held === undefined ? {} : { sink: -Infinity }),
        });
        o.set(values.o, (place * heads + h) * D);
        lse[place * heads + h] = values.lse;
      }
    });
    return { o: tensor([own.length, heads, D], o), lse: tensor([own.length, heads], lse) };
  };
  Object.assign(out, part(Int32Array.from({ length: rows }, (_, row) => row)));
  for (let rank = 0; rank < one.ranks; rank++) {
    out[`rank${rank}.rows`] = tensor([setting.rows[rank].length], Float32Array.from(setting.rows[rank]));
    for (let hop = 0; hop < one.ranks; hop++) {
      const { queries, keys: owner } = setting.meets(rank, hop);
      const made = part(setting.rows[queries], setting.keys[owner]);
      out[`rank${rank}.hop${hop}.o`] = made.o;
      out[`rank${rank}.hop${hop}.lse`] = made.lse;
    }
  }
  return out;
}
