/** Float64 attention: the oracle that checks every path. */
import type { Run, Sequence } from "../layout/shards.ts";
import { score, weigh } from "./loops.ts";

/** The oracle's input: shapes as in AttendInput. */
export interface ReferenceInput {
  /** f32 `[T, H, D]`. */
  readonly q: Float32Array;
  /** f32 `[T+P, Hkv, D]`, cached rows first. */
  readonly k: Float32Array;
  /** As `k`. */
  readonly v: Float32Array;
  /** T and P of each sequence. */
  readonly sequences: readonly Sequence[];
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D. */
  readonly headDim: number;
  /** Default true: bottom-right. */
  readonly causal?: boolean;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
}

/** O `[rows, H, D]` and LSE `[rows, H]` in float64, of all query rows or of the chosen ones in the caller's order. */
export interface ReferenceOutput {
  /** O `[T, H, D]`. */
  readonly out: Float64Array;
  /** LSE `[T, H]`, natural logarithms. */
  readonly lse: Float64Array;
}

/** Keys, by sequence and position. */
export type KeyRun = Pick<Run, "sequence" | "start" | "length">;

/**
 * Attention by the textbook formula: softmax with its true maximum, one query row and head at a time; memory O(T).
 * With `held`, the partial attention over those keys alone: O = 0 and LSE = -Infinity for a row that sees none of them.
 * Errors: RangeError for a row that the queries don't have.
 */
export function reference(
  input: ReferenceInput,
  rows: readonly number[] = allRows(input),
  held?: readonly KeyRun[],
): ReferenceOutput {
  const { heads, headDim: D } = input;
  const out = new Float64Array(rows.length * heads * D);
  const lse = new Float64Array(rows.length * heads);
  const head = new ExactHead(input);
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
  /** O of the last head, D elements. */
  readonly out: Float64Array;
  /** Scores and softmax weights of the last head, by key in the row's sequence. */
  readonly scores: Float64Array;
  readonly weights: Float64Array;
  /** Row of K of the sequence's first key. */
  first = 0;
  /** The keys that the row sees, relative to the first: `from` to before `to`. */
  ranges: readonly { readonly from: number; readonly to: number }[] = [];
  readonly #input: ReferenceInput;
  readonly #scale: number;
  readonly #q: Float64Array;
  #row = 0;

  constructor(input: ReferenceInput) {
    const longest = Math.max(0, ...input.sequences.map((s) => s.new + s.cached));
    this.#input = input;
    this.#scale = input.scale ?? 1 / Math.sqrt(input.headDim);
    this.#q = new Float64Array(input.headDim);
    this.out = new Float64Array(input.headDim);
    this.scores = new Float64Array(longest);
    this.weights = new Float64Array(longest);
  }

  /** Goes to a query row. Errors: RangeError for one that the queries don't have. */
  go(row: number, held?: readonly KeyRun[]): void {
    const { sequence, first, keys } = seenBy(this.#input, row);
    this.#row = row;
    this.first = first;
    const parts = held === undefined
      ? [{ from: 0, to: keys }]
      : held.filter((run) => run.sequence === sequence).map(({ start, length }) => ({
        from: start,
        to: Math.min(keys, start + length),
      }));
    this.ranges = parts.filter(({ from, to }) => from < to);
  }

  /** Attends one head; returns its LSE. */
  attend(h: number): number {
    const { q, k, v, heads, kvHeads, headDim: D } = this.#input;
    const stride = kvHeads * D;
    const start = this.first * stride + this.kvHead(h) * D;
    for (let d = 0, at = (this.#row * heads + h) * D; d < D; d++) this.#q[d] = q[at + d];
    let max = -Infinity;
    for (const { from, to } of this.ranges) {
      max = Math.max(max, score(this.#q, k, start, stride, from, to, this.#scale, this.scores));
    }
    this.out.fill(0);
    let sum = 0;
    for (const { from, to } of this.ranges) {
      sum += weigh(this.scores, max, v, start, stride, from, to, this.weights, this.out);
    }
    if (sum === 0) return -Infinity;
    for (let d = 0; d < D; d++) this.out[d] /= sum;
    for (const { from, to } of this.ranges) for (let j = from; j < to; j++) this.weights[j] /= sum;
    return max + Math.log(sum);
  }

  /** The KV head that query head `h` reads. */
  kvHead(h: number): number {
    return Math.floor(h / (this.#input.heads / this.#input.kvHeads));
  }
}

/**
 * The sequence of a query row, that sequence's first row of K, and the number of its keys that the row sees. Errors:
 * RangeError for a row that the queries don't have.
 */
export function seenBy(
  { sequences, causal = true }: Pick<ReferenceInput, "sequences" | "causal">,
  row: number,
): { readonly sequence: number; readonly first: number; readonly keys: number } {
  let first = 0;
  let t = row;
  for (const [sequence, s] of sequences.entries()) {
    if (t < s.new) return { sequence, first, keys: causal ? s.cached + t + 1 : s.cached + s.new };
    t -= s.new;
    first += s.cached + s.new;
  }
  throw new RangeError(`row ${row} is not a row of the queries`);
}
