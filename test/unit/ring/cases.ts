/**
 * The grid of experiments that every back-end must pass: all values of each axis, spread over a number of cases that
 * software adapters can bear.
 */
import type { Variant } from "../../../engine/cluster/types.ts";
import type { Sequence } from "../../../engine/layout/shards.ts";
import type { DType } from "../../../engine/tensor/dtype.ts";

/** One experiment of the grid on `ranks` ranks. */
export interface GridCase {
  readonly ranks: number;
  readonly variant: Variant;
  readonly wireDtype: DType;
  readonly causal: boolean;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly sequences: readonly Sequence[];
}

const HEADS = [[4, 4], [8, 2], [8, 1]] as const;
const DIMS = [16, 64, 80, 128] as const;
const RANKS = [1, 2, 3, 4, 8] as const;
const WIRES = ["f32", "f16", "bf16"] as const;
const VARIANTS = ["pass-kv", "pass-q"] as const;

const alone = (T: number, P = 0): Sequence[] => [{ new: T, cached: P }];

/** T of the issue's grid, query and key lengths of FlashAttention-3's tests that fit, and fused batches. */
const BATCHES: readonly (readonly Sequence[])[] = [
  ...[1, 2, 7, 31, 64, 113, 257].map((T) => alone(T)),
  alone(64, 64),
  alone(1, 238),
  alone(113, 90),
  alone(108, 148),
  alone(7, 1),
  [...alone(7), ...alone(31, 5), ...alone(1, 60)],
  [...alone(1), ...alone(2, 3), ...alone(64), ...alone(0, 9), ...alone(31)],
];

/**
 * Every batch with every number of ranks and both variants; heads, head size, wire and mask rotate with coprime
 * strides, so that each value of each axis meets each of the others. One large case a head size comes on top.
 */
export function grid(): GridCase[] {
  const cases: GridCase[] = [];
  let i = 0;
  for (const sequences of BATCHES) {
    for (const ranks of RANKS) {
      for (const variant of VARIANTS) {
        const [heads, kvHeads] = HEADS[i % 3];
        cases.push({
          ranks,
          variant,
          wireDtype: WIRES[Math.floor(i / 2) % 3],
          causal: i % 7 !== 3,
          heads,
          kvHeads,
          headDim: DIMS[Math.floor(i / 3) % 4],
          sequences,
        });
        i++;
      }
    }
  }
  DIMS.forEach((headDim, d) =>
    cases.push({
      ranks: RANKS[d + 1],
      variant: VARIANTS[d % 2],
      wireDtype: "f32",
      causal: true,
      heads: 4,
      kvHeads: d % 2 === 0 ? 4 : 1,
      headDim,
      sequences: alone(799),
    })
  );
  return cases;
}

/** A case in one line. */
export function label(c: GridCase): string {
  const batch = c.sequences.map((s) => `${s.new}:${s.cached}`).join(",");
  return `N ${c.ranks} ${c.variant} T:P ${batch} heads ${c.heads}/${c.kvHeads} D ${c.headDim} wire ${c.wireDtype} ${
    c.causal ? "causal" : "full"
  }`;
}
