/** One row and head of attention in float64, right or with a fault put in: what a hypothesis predicts. */
import { type Mask, maskFrom, sinkTokensOf } from "../../layout/mask.ts";
import { endSeen, firstSeen } from "../../layout/mask.ts";
import { isPrefixOfK, valueHead } from "../../tensor/heads.ts";
import { type Problem, tokenOf } from "./problem.ts";
import type { KeyRun } from "../attention.ts";

/** How a faulty program differs from a right one. What is left out is right. */
export interface Changed {
  /** The keys that the row sees, by position. */
  readonly keys?: readonly number[] | Int32Array;
  readonly scale?: number;
  /** The KV head of the keys, and of the values. */
  readonly keyHead?: number;
  readonly valueHead?: number;
  /** The logit beside the scores; undefined: the problem's. -Infinity: none. */
  readonly sink?: number;
  /** Changes the query in place, of D elements. */
  readonly query?: (q: Float64Array) => void;
  /** Changes a key in place. */
  readonly key?: (k: Float64Array, position: number) => void;
}

/** O of Dv elements, and LSE. */
export interface RowValues {
  readonly o: Float64Array;
  readonly lse: number;
}

/** Rows of a problem. */
export class Rows {
  readonly problem: Problem;
  readonly mask: Mask;
  readonly scale: number;
  readonly valueDim: number;
  readonly #values: Float32Array;
  readonly #valueRow: number;

  constructor(problem: Problem) {
    const { valueDim, valuesInKeys } = valueHead(problem);
    this.problem = problem;
    this.mask = maskFrom(problem);
    this.scale = problem.scale ?? 1 / Math.sqrt(problem.headDim);
    this.valueDim = valueDim;
    this.#values = isPrefixOfK(problem.v) ? problem.k : problem.v;
    this.#valueRow = valuesInKeys ? problem.headDim : valueDim;
  }

  /** Positions that a row sees under a mask, those of `held` alone if given, in order. */
  seen(row: number, mask: Mask = this.mask, held?: readonly KeyRun[]): Int32Array {
    const { sequences } = this.problem;
    const { sequence, position } = tokenOf(sequences, row);
    const end = Math.min(endSeen(mask, position), sequences[sequence].cached + sequences[sequence].new);
    const near = firstSeen(mask, position);
    const sinks = Math.min(sinkTokensOf(mask), near);
    return this.held(sequence, held, (p) => p < end && (p >= near || p < sinks));
  }

  /** Positions of a sequence that `wanted` wants, those of `held` alone if given, in order. */
  held(sequence: number, held: readonly KeyRun[] | undefined, wanted: (position: number) => boolean): Int32Array {
    const { cached, new: fresh } = this.problem.sequences[sequence];
    const runs = held?.filter((run) => run.sequence === sequence) ?? [{ start: 0, length: cached + fresh }];
    const out: number[] = [];
    for (const { start, length } of runs) {
      for (let p = start; p < start + length; p++) if (wanted(p)) out.push(p);
    }
    return Int32Array.from(out);
  }

  /** The KV head that a query head reads. */
  kvHead(head: number): number {
    return Math.floor(head / (this.problem.heads / this.problem.kvHeads));
  }

  /** Attends one row and head. */
  attend(row: number, head: number, changed: Changed = {}): RowValues {
    return this.attendIn(tokenOf(this.problem.sequences, row).sequence, row, head, changed);
  }

  /** Attends one row and head to keys of a sequence, even of another one than its own. */
  attendIn(sequence: number, row: number, head: number, changed: Changed): RowValues {
    const { q, k, heads, kvHeads, headDim: D, sequences, sinks } = this.problem;
    const first = sequences.slice(0, sequence).reduce((sum, s) => sum + s.cached + s.new, 0);
    const {
      keys = this.seen(row),
      scale = this.scale,
      keyHead = this.kvHead(head),
      valueHead: vHead = keyHead,
      sink = sinks?.[head] ?? -Infinity,
    } = changed;
    const query = Float64Array.from(q.subarray((row * heads + head) * D, (row * heads + head + 1) * D));
    changed.query?.(query);
    const scores = new Float64Array(keys.length);
    const key = new Float64Array(D);
    let max = sink;
    for (let j = 0; j < keys.length; j++) {
      const at = ((first + keys[j]) * kvHeads + keyHead) * D;
      let dot = 0;
      if (changed.key === undefined) { for (let d = 0; d < D; d++) dot += query[d] * k[at + d]; }
      else {
        for (let d = 0; d < D; d++) key[d] = k[at + d];
        changed.key(key, keys[j]);
        for (let d = 0; d < D; d++) dot += query[d] * key[d];
      }
      scores[j] = dot * scale;
      if (scores[j] > max) max = scores[j];
    }
    const o = new Float64Array(this.valueDim);
    if (max === -Infinity) return { o, lse: max };
    let sum = Math.exp(sink - max);
    for (let j = 0; j < keys.length; j++) {
      const weight = Math.exp(scores[j] - max);
      const at = ((first + keys[j]) * kvHeads + vHead) * this.#valueRow;
      sum += weight;
      for (let d = 0; d < o.length; d++) o[d] += weight * this.#values[at + d];
    }
    for (let d = 0; d < o.length; d++) o[d] /= sum;
    return { o, lse: max + Math.log(sum) };
  }
}

/** Merges partial results with weights (Eq. 4): each counts `times[i]` times, by default once. */
export function merged(parts: readonly RowValues[], times: readonly number[] = parts.map(() => 1)): RowValues {
  const max = Math.max(-Infinity, ...parts.filter((_, i) => times[i] > 0).map(({ lse }) => lse));
  const o = new Float64Array(parts[0]?.o.length ?? 0);
  if (max === -Infinity) return { o, lse: max };
  let sum = 0;
  for (const [i, part] of parts.entries()) {
    const weight = times[i] * Math.exp(part.lse - max);
    sum += weight;
    for (let d = 0; d < o.length; d++) o[d] += weight * part.o[d];
  }
  for (let d = 0; d < o.length; d++) o[d] /= sum;
  return { o, lse: max + Math.log(sum) };
}
