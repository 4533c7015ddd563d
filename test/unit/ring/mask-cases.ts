/**
 * The grid of masks, sinks and head sizes: each kind of mask with each number of ranks, both variants, and each kind of
 * batch. The other axes rotate.
 */
import { type Mask, sayMask } from "../../../engine/layout/mask.ts";
import { type Dealing, DEALINGS, type Sequence } from "../../../engine/layout/shards.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import type { AttendInput, Variant } from "../../../engine/cluster/types.ts";
import type { DType } from "../../../engine/tensor/dtype.ts";
import { experiment } from "../../experiment.ts";

/** One experiment on `ranks` ranks. */
export interface MaskCase {
  readonly ranks: number;
  readonly variant: Variant;
  readonly mask: Mask;
  readonly mode: keyof typeof BATCHES;
  readonly sequences: readonly Sequence[];
  readonly dealing: Dealing;
  readonly wireDtype: DType;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** V is the first Dv elements of each row of K. */
  readonly prefix: boolean;
  /** Logits of -50, 0 and 50 over the heads. */
  readonly sinks: boolean;
}

/** Sizes of windows and chunks: one token, some of a sequence, all of it. */
const SIZES = [16, 1, 1000, 24] as const;

const MASKS: readonly ((i: number) => Mask)[] = [
  () => ({ kind: "causal" }),
  () => ({ kind: "full" }),
  (i) => ({ kind: "window", size: SIZES[i % 4] }),
  (i) => ({ kind: "chunk", size: SIZES[i % 4] }),
  (i) => ({ kind: "window", size: SIZES[i % 4], sinkTokens: 1 + (i % 5) }),
  (i) => ({ kind: "chunk", size: SIZES[i % 4], sinkTokens: 1 + (i % 5) }),
];

const RANKS = [1, 2, 3, 4, 8] as const;
const VARIANTS = ["pass-kv", "pass-q"] as const;
const HEADS = [[4, 4], [8, 2], [6, 3], [8, 1]] as const;
const WIRES = ["f32", "f16", "f32", "bf16"] as const;

/** D, Dv, and whether V is part of K. */
const SHAPES = [[16, 16, false], [32, 16, false], [16, 48, false], [48, 32, true]] as const;

const one = (T: number, P = 0): Sequence => ({ new: T, cached: P });

/** Lengths below, at and above the sizes; fewer tokens than ranks; sequences without a new token. */
const BATCHES = {
  "full prefill": [[one(61)], [one(3)], [one(128)]],
  "partial prefill": [[one(19, 90)], [one(64, 64)], [one(7, 1)]],
  "decode": [[one(1, 5), one(1, 40), one(1, 16), one(1, 15)], [one(1, 59)], [one(1, 0)]],
  "fused batch": [
    [one(7), one(16), one(41, 9), one(1, 60), one(0, 9)],
    [one(15, 1), one(17), one(2, 120)],
    [one(1), one(33, 31), one(24)],
  ],
} as const;

/** MLA in its absorbed form, as DeepSeek has it: K of 512 + 64 elements, V its first 512. */
const MLA = { heads: 16, kvHeads: 1, headDim: 576, valueDim: 512, prefix: true } as const;

/** Every kind of mask, mode, number of ranks and variant; then MLA. */
export function maskCases(): MaskCase[] {
  const cases: MaskCase[] = [];
  let i = 0;
  for (const mode of Object.keys(BATCHES) as MaskCase["mode"][]) {
    for (const [m, mask] of MASKS.entries()) {
      for (const ranks of RANKS) {
        for (const variant of VARIANTS) {
          const turn = Math.floor(i / 2) + m;
          const [heads, kvHeads] = HEADS[turn % 4];
          const [headDim, valueDim, prefix] = SHAPES[Math.floor(i / 3) % 4];
          cases.push({
            ranks,
            variant,
            mask: mask(turn),
            mode,
            sequences: BATCHES[mode][turn % 3],
            dealing: DEALINGS[Math.floor(turn / 2) % 2],
            wireDtype: WIRES[turn % 4],
            heads,
            kvHeads,
            headDim,
            valueDim,
            prefix,
            sinks: turn % 3 !== 0,
          });
          i++;
        }
      }
    }
  }
  for (const [m, mask] of MASKS.entries()) {
    cases.push({
      ...MLA,
      ranks: RANKS[(m + 1) % 5],
      variant: VARIANTS[m % 2],
      mask: mask(m),
      mode: "fused batch",
      sequences: BATCHES["fused batch"][1],
      dealing: DEALINGS[m % 2],
      wireDtype: m === 2 ? "bf16" : "f32",
      sinks: m > 1,
    });
  }
  return cases;
}

/** The input of a case, with V as a tensor or as a part of K. */
export function maskInput(c: MaskCase): Omit<AttendInput, "variant"> & { readonly variant: Variant } {
  const { prefix, sinks, mode: _mode, ranks: _ranks, ...rest } = c;
  const input: FixedInput = experiment(rest);
  return {
    ...input,
    variant: c.variant,
    ...(sinks ? { sinks: Float32Array.from({ length: c.heads }, (_, h) => [-50, 0, 50][h % 3]) } : {}),
    ...(prefix ? { v: { prefixOfK: c.valueDim } } : {}),
  };
}

/** A case in one line. */
export function maskLabel(c: MaskCase): string {
  const batch = c.sequences.map((s) => `${s.new}:${s.cached}`).join(",");
  const values = c.prefix ? ` V in K ${c.valueDim}` : c.valueDim === c.headDim ? "" : ` Dv ${c.valueDim}`;
  return `${sayMask(c.mask)}, ${c.mode}, N ${c.ranks} ${c.variant} T:P ${batch} heads ${c.heads}/${c.kvHeads} ` +
    `D ${c.headDim}${values} wire ${c.wireDtype} ${c.dealing}${c.sinks ? " sinks" : ""}`;
}
