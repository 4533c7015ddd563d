/** Experiments for tests: seeded inputs and their float64 results. */
import type { FixedInput } from "../engine/cluster/in-process.ts";
import type { Sequence } from "../engine/layout/shards.ts";
import { seededRows } from "../engine/tensor/seeded.ts";

/** What a test names of an experiment. */
export interface Case extends Partial<Omit<FixedInput, "q" | "k" | "v">> {
  readonly sequences: readonly Sequence[];
  readonly seed?: number;
}

/** A seeded experiment; by default H/Hkv 4/4, D 16, Dv as D. */
export function experiment(c: Case): FixedInput {
  const { heads = 4, kvHeads = 4, headDim = 16, seed = 1, ...rest } = c;
  const fresh = c.sequences.reduce((sum, s) => sum + s.new, 0);
  const all = c.sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  // Off the grids of the 16-bit types, so that a 16-bit wire has something to round.
  const tensor = (name: "q" | "k" | "v", rows: number, columns: number) =>
    seededRows(seed, name, 0, rows, columns).map((x) => x * 1.0009765);
  return {
    ...rest,
    heads,
    kvHeads,
    headDim,
    q: tensor("q", fresh, heads * headDim),
    k: tensor("k", all, kvHeads * headDim),
    v: tensor("v", all, kvHeads * (c.valueDim ?? headDim)),
  };
}
