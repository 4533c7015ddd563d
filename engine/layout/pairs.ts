/** Query-key pairs between two blocks, counted in closed form; visibility.ts counts them row by row. */
import type { Block, Run } from "./shards.ts";

/**
 * Pairs that the queries of `q` see in `kv` under the causal mask, by absolute position. Takes O(runs x runs) steps,
 * whatever the lengths.
 */
export function pairsBetween(q: Block, kv: Block): number {
  let sum = 0;
  for (const a of q.runs) for (const b of kv.runs) if (a.sequence === b.sequence) sum += pairsOfRuns(a, b);
  return sum;
}

/** Pairs of two runs of one sequence: sum over positions p of a of the positions of b that are <= p. */
export function pairsOfRuns(a: Pick<Run, "start" | "length">, b: Pick<Run, "start" | "length">): number {
  const end = a.start + a.length;
  // Queries from the last key on see all of b; those between see a staircase.
  const full = Math.max(0, end - Math.max(a.start, b.start + b.length - 1));
  const from = Math.max(a.start, b.start);
  const to = Math.min(end, b.start + b.length - 1);
  const steps = Math.max(0, to - from);
  return full * b.length + (steps * (from - b.start + 1 + (to - b.start))) / 2;
}
