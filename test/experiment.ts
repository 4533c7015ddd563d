/** Experiments for tests: seeded inputs and their float64 results. */
import type { AttendInput } from "../engine/cluster/types.ts";
import type { Sequence } from "../engine/layout/shards.ts";
import { seededRows } from "../engine/tensor/seeded.ts";

/** What a test names of an experiment. */
export interface Case extends Partial<Omit<AttendInput, "q" | "k" | "v">> {
  readonly sequences: readonly Sequence[];
  readonly seed?: number;
}

/** A seeded experiment; by default H/Hkv 4/4, D 16. */
export function experiment(c: Case): AttendInput {
  const { heads = 4, kvHeads = 4, headDim = 16, seed = 1 } = c;
  const fresh = c.sequences.reduce((sum, s) => sum + s.new, 0);
  const all = c.sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  return {
    ...c,
    heads,
    kvHeads,
    headDim,
    q: seededRows(seed, "q", 0, fresh, heads * headDim),
    k: seededRows(seed, "k", 0, all, kvHeads * headDim),
    v: seededRows(seed, "v", 0, all, kvHeads * headDim),
  };
}
