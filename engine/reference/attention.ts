/** Float64 attention: the oracle that checks every path. */
import { endSeen, firstSeen, type Mask, maskFrom, sinkTokensOf } from "../layout/mask.ts";
import type { Run, Sequence } from "../layout/shards.ts";
import { isPrefixOfK, type PrefixOfK, valueHead } from "../tensor/heads.ts";
import { score, weigh } from "./loops.ts";

/** The oracle's input: shapes as in AttendInput. */
export interface ReferenceInput {
  /** f32 `[T, H, D]`. */
  readonly q: Float32Array;
  /** f32 `[T+P, Hkv, D]`, cached rows first. */
  readonly k: Float32Array;
  /** f32 `[T+P, Hkv, Dv]`, or where it lies in K. */
  readonly v: Float32Array | PrefixOfK;
  /** T and P of each sequence. */
  readonly sequences: readonly Sequence[];
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D. */
  readonly headDim: number;
  /** Dv; default D. */
  readonly valueDim?: number;
  /** What a query sees; default causal. */
  readonly mask?: Mask;
  /** The older way to write the masks `causal` (true) and `full` (false). */
  readonly causal?: boolean;
  /** A learned logit for each head, f32 `[H]`, once in each row's denominator; LSE includes it. */
  readonly sinks?: Float32Array;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
}

/** O `[rows, H, Dv]` and LSE `[rows, H]` in float64, of all query rows or of the chosen ones in the caller's order. */
export interface ReferenceOutput {
  /** O `[T, H, Dv]`. */
  readonly out: Float64Array;
  /** LSE `[T, H]`, natural logarithms. */
  readonly lse: Float64Array;
}

/** Keys, by sequence and position. */
export type KeyRun = Pick<Run, "sequence" | "start" | "length">;

/**
 * Attention by the textbook formula: softmax with its true maximum, one query row and head at a time; memory O(T).
 * With `held`, the partial attention over those keys alone, without sinks: O = 0 and LSE = -Infinity for a row that sees
 * none of them.
 * Errors: RangeError for a row that the queries don't have.
 */
export function reference(
  input: ReferenceInput,
  rows: readonly number[] = allRows(input),
  held?: readonly KeyRun[],
): ReferenceOutput {
  const { heads } = input;
  const { valueDim: D } = valueHead(input);
  const out = new Float64Array(rows.length * heads * D);
  const lse = new Float64Array(rows.length * heads);
  const head = new ExactHead(held === undefined ? input : { ...input, sinks: undefined });
  rows.forEach((row, place) => {
    head.go(row, held);
    for (let h = 0; h < heads; h++) {
      lse[place * heads + h] = head.attend(h);
      out.set(head.out, (place * heads + h) * D);
    }
  });
  return { out, lse };
}

/** Every row of the queries. */
export function allRows({ sequences }: Pick<ReferenceInput, "sequences">): number[] {
  return Array.from({ length: sequences.reduce((sum, s) => sum + s.new, 0) }, (_, r) => r);
}

/** Attends one query row at a time, head by head. Its results last until the next head. */
export class ExactHead {
  /** O of the last head, Dv elements. */
  readonly out: Float64Array;
  /** The rows that values lie in, and their elements. */
  readonly values: Float32Array;
  readonly valueRow: number;
  /** Scores and softmax weights of the last head, by key in the row's sequence. */
  readonly scores: Float64Array;
  readonly weights: Float64Array;
  /** Row of K of the sequence's first key. */
  first = 0;
  /** The keys that the row sees, relative to the first. */
  ranges: readonly SeenKeys[] = [];
  /** The softmax weight of the last head's sink; 0 without one. */
  sinkWeight = 0;
  readonly #input: ReferenceInput;
  readonly #scale: number;
  readonly #q: Float64Array;
  #row = 0;

  constructor(input: ReferenceInput) {
    const longest = Math.max(0, ...input.sequences.map((s) => s.new + s.cached));
    this.#input = input;
    this.#scale = input.scale ?? 1 / Math.sqrt(input.headDim);
    this.#q = new Float64Array(input.headDim);
    const { valueDim, valuesInKeys } = valueHead(input);
    this.out = new Float64Array(valueDim);
    this.values = isPrefixOfK(input.v) ? input.k : input.v;
    this.valueRow = valuesInKeys ? input.headDim : valueDim;
    this.scores = new Float64Array(longest);
    this.weights = new Float64Array(longest);
  }

  /** Goes to a query row. Errors: RangeError for one that the queries don't have. */
  go(row: number, held?: readonly KeyRun[]): void {
    const { sequence, first, ranges } = seenBy(this.#input, row);
    this.#row = row;
    this.first = first;
    const parts = held === undefined
      ? ranges
      : held.filter((run) => run.sequence === sequence).flatMap((run) =>
        ranges.map(({ from, to }) => ({
          from: Math.max(from, run.start),
          to: Math.min(to, run.start + run.length),
        }))
      );
    this.ranges = parts.filter(({ from, to }) => from < to);
  }

  /** Attends one head; returns its LSE. */
  attend(h: number): number {
    const { q, k, heads, kvHeads, headDim: D, sinks } = this.#input;
    const stride = kvHeads * D;
    const start = this.first * stride + this.kvHead(h) * D;
    const valueStride = kvHeads * this.valueRow;
    const valueStart = this.first * valueStride + this.kvHead(h) * this.valueRow;
    for (let d = 0, at = (this.#row * heads + h) * D; d < D; d++) this.#q[d] = q[at + d];
    const sink = sinks?.[h] ?? -Infinity;
    let max = sink;
    for (const { from, to } of this.ranges) {
      max = Math.max(max, score(this.#q, k, start, stride, from, to, this.#scale, this.scores));
    }
    this.out.fill(0);
    this.sinkWeight = 0;
    if (max === -Infinity) return max;
    const sinkWeight = Math.exp(sink - max);
    let sum = sinkWeight;
    for (const { from, to } of this.ranges) {
      sum += weigh(this.scores, max, this.values, valueStart, valueStride, from, to, this.weights, this.out);
    }
    this.sinkWeight = sinkWeight / sum;
    for (let d = 0; d < this.out.length; d++) this.out[d] /= sum;
    for (const { from, to } of this.ranges) for (let j = from; j < to; j++) this.weights[j] /= sum;
    return max + Math.log(sum);
  }

  /** The KV head that query head `h` reads. */
  kvHead(h: number): number {
    return Math.floor(h / (this.#input.heads / this.#input.kvHeads));
  }
}

/** Keys that a row sees, by position: `from` to before `to`. */
export interface SeenKeys {
  readonly from: number;
  readonly to: number;
}

/**
 * The sequence of a query row, that sequence's first row of K, the keys that the row sees in order, and their number.
 * Errors: RangeError for a row that the queries don't have.
 */
export function seenBy(
  input: Pick<ReferenceInput, "sequences" | "causal" | "mask">,
  row: number,
): { readonly sequence: number; readonly first: number; readonly ranges: readonly SeenKeys[]; readonly keys: number } {
  const mask = maskFrom(input);
  let first = 0;
  let t = row;
  for (const [sequence, s] of input.sequences.entries()) {
    if (t < s.new) {
      const position = s.cached + t;
      const near = { from: firstSeen(mask, position), to: Math.min(endSeen(mask, position), s.cached + s.new) };
      const sinks = { from: 0, to: Math.min(sinkTokensOf(mask), near.from) };
      const ranges = [sinks, near].filter(({ from, to }) => from < to);
      return { sequence, first, ranges, keys: ranges.reduce((sum, { from, to }) => sum + to - from, 0) };
    }
    t -= s.new;
    first += s.cached + s.new;
  }
  throw new RangeError(`row ${row} is not a row of the queries`);
}

/** How many of some keys lie at the positions `from` to before `to`. */
export function countWithin(ranges: readonly SeenKeys[], from: number, to: number): number {
  return ranges.reduce((sum, range) => sum + Math.max(0, Math.min(range.to, to) - Math.max(range.from, from)), 0);
}
