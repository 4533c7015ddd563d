/** Float64 attention: the oracle that every path is checked against. */
import type { Run, Sequence } from "../layout/shards.ts";

/** What the oracle reads: shapes as in AttendInput. */
export interface ReferenceInput {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly sequences: readonly Sequence[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly scale?: number;
}

/** O `[rows, H, D]` and LSE `[rows, H]` in float64, of all query rows or of those asked for, in the order asked. */
export interface ReferenceOutput {
  readonly out: Float64Array;
  readonly lse: Float64Array;
}

/** Tokens of the keys, by sequence and position. */
export type KeyRun = Pick<Run, "sequence" | "start" | "length">;

/**
 * Attention by the textbook formula, softmax with its true maximum, one query row and head at a time; memory O(T).
 * With `held`, the partial attention over those keys alone: O = 0 and LSE = -Infinity for a row that sees none of them.
 */
export function reference(input: ReferenceInput, rows?: readonly number[], held?: readonly KeyRun[]): ReferenceOutput {
  const { q, k, v, heads, kvHeads, headDim: D, causal = true } = input;
  const scale = input.scale ?? 1 / Math.sqrt(D);
  const group = heads / kvHeads;
  const places = rows ?? Array.from({ length: input.sequences.reduce((sum, s) => sum + s.new, 0) }, (_, r) => r);
  const out = new Float64Array(places.length * heads * D);
  const lse = new Float64Array(places.length * heads);
  const scores = new Float64Array(Math.max(0, ...input.sequences.map((s) => s.new + s.cached)));
  places.forEach((row, place) => {
    const { sequence, first, keys } = seenBy(row, input.sequences, causal);
    const ranges = held === undefined ? [{ from: 0, to: keys }] : held.filter((run) => run.sequence === sequence).map(({ start, length }) => ({ from: start, to: Math.min(keys, start + length) }));
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / group);
      const qAt = (row * heads + h) * D;
      let max = -Infinity;
      for (const { from, to } of ranges) for (let j = from; j < to; j++) {
        const kAt = ((first + j) * kvHeads + kvHead) * D;
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[qAt + d] * k[kAt + d];
        scores[j] = dot * scale;
        if (scores[j] > max) max = scores[j];
      }
      const at = (place * heads + h) * D;
      let sum = 0;
      for (const { from, to } of ranges) for (let j = from; j < to; j++) {
        const weight = Math.exp(scores[j] - max);
        const vAt = ((first + j) * kvHeads + kvHead) * D;
        sum += weight;
        for (let d = 0; d < D; d++) out[at + d] += weight * v[vAt + d];
      }
      if (sum > 0) for (let d = 0; d < D; d++) out[at + d] /= sum;
      lse[place * heads + h] = max + Math.log(sum);
    }
  });
  return { out, lse };
}

function seenBy(row: number, sequences: readonly Sequence[], causal: boolean): { sequence: number; first: number; keys: number } {
  let first = 0;
  let t = row;
  for (const [sequence, s] of sequences.entries()) {
    if (t < s.new) return { sequence, first, keys: causal ? s.cached + t + 1 : s.cached + s.new };
    t -= s.new;
    first += s.cached + s.new;
  }
  throw new RangeError(`row ${row} is not a row of the queries`);
}
