/**
 * Rows of a seeded attention in float64, without its tensors: keys and values are made tile by tile, so that a row of a
 * million tokens needs the memory of one tile. A row's value depends on nothing but the batch and the row, not on what
 * else is asked for.
 */
import { offsets } from "../../engine/layout/shards.ts";
import { seededKey, seededPart } from "../../engine/tensor/seeded.ts";
import type { Row, SeededBatch } from "./types.ts";

/** Keys of a tile. */
const TILE = 256;

/** One row, done. */
export interface ExactRow {
  /** Its place among the rows asked for. */
  readonly index: number;
  /** Keys that it sees. */
  readonly keys: number;
  /** O, of D elements. */
  readonly out: Float64Array;
  readonly lse: number;
  /**
   * sqrt(sum p^2), p the softmax weights: 1 where one key has all the weight, 1/sqrt(keys) where all weigh the same.
   */
  readonly spread: number;
}

/** What came of one tile: the row-key pairs gone through, and the rows that are done. */
export interface Tile {
  readonly pairs: number;
  readonly rows: readonly ExactRow[];
}

/** A row under way: online softmax, rescaled when a tile brings a larger score. */
interface State {
  readonly index: number;
  readonly head: number;
  readonly keys: number;
  readonly q: Float64Array;
  readonly acc: Float64Array;
  max: number;
  sum: number;
  squares: number;
}

/** Keys that a row sees. Errors: RangeError for a token that is none of the batch's. */
export function keysOf(
  batch: Pick<SeededBatch, "sequences" | "causal">,
  token: number,
): { readonly sequence: number; readonly keys: number } {
  let t = token;
  for (const [sequence, s] of batch.sequences.entries()) {
    if (t < s.new) return { sequence, keys: batch.causal === false ? s.cached + s.new : s.cached + t + 1 };
    t -= s.new;
  }
  throw new RangeError(`token ${token} is not one of the batch's new tokens`);
}

/** Computes rows; yields after each tile of keys, so that whoever runs it can look up in between. */
export function* recompute(batch: SeededBatch, rows: readonly (readonly [index: number, row: Row])[]): Generator<Tile> {
  const { seed, sequences, heads, kvHeads, headDim: D } = batch;
  const scale = batch.scale ?? 1 / Math.sqrt(D);
  const group = heads / kvHeads;
  const starts = offsets(sequences.map((s) => s.new + s.cached));
  const [qKey, kKey, vKey] = (["q", "k", "v"] as const).map((name) => seededKey(seed, name));
  const [k, v] = [new Float64Array(TILE * D), new Float64Array(TILE * D)];
  const scores = new Float64Array(TILE);
  // By sequence and KV head: what shares tiles.
  const shares = new Map<number, State[]>();
  for (const [index, [token, head]] of rows) {
    const { sequence, keys } = keysOf(batch, token);
    const q = new Float64Array(D);
    seededPart(q, 0, qKey, token, head * D, D);
    for (let d = 0; d < D; d++) q[d] *= scale;
    const share = sequence * kvHeads + Math.floor(head / group);
    shares.set(share, [...(shares.get(share) ?? []), {
      index,
      head,
      keys,
      q,
      acc: new Float64Array(D),
      max: -Infinity,
      sum: 0,
      squares: 0,
    }]);
  }
  for (const [share, states] of shares) {
    const [start, kvHead] = [starts[Math.floor(share / kvHeads)], share % kvHeads];
    const last = Math.max(...states.map((s) => s.keys));
    for (let first = 0; first < last; first += TILE) {
      const size = Math.min(TILE, last - first);
      for (let j = 0; j < size; j++) {
        seededPart(k, j * D, kKey, start + first + j, kvHead * D, D);
        seededPart(v, j * D, vKey, start + first + j, kvHead * D, D);
      }
      let pairs = 0;
      const done: ExactRow[] = [];
      for (const state of states) {
        const n = Math.min(size, state.keys - first);
        if (n <= 0) continue;
        attend(state, k, v, scores, n, D);
        pairs += n;
        if (first + n === state.keys) done.push(finish(state));
      }
      yield { pairs, rows: done };
    }
  }
}

/**
 * One row to the first `n` keys of a tile. Four keys at a time: a query element, or an element of O, is loaded once for
 * four.
 */
function attend(state: State, k: Float64Array, v: Float64Array, scores: Float64Array, n: number, D: number): void {
  const { q, acc } = state;
  let max = state.max;
  let j = 0;
  for (; j + 3 < n; j += 4) {
    const [a, b, c, e] = [j * D, (j + 1) * D, (j + 2) * D, (j + 3) * D];
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let d = 0; d < D; d++) {
      const x = q[d];
      s0 += x * k[a + d];
      s1 += x * k[b + d];
      s2 += x * k[c + d];
      s3 += x * k[e + d];
    }
    scores[j] = s0;
    scores[j + 1] = s1;
    scores[j + 2] = s2;
    scores[j + 3] = s3;
    max = Math.max(max, s0, s1, s2, s3);
  }
  for (; j < n; j++) {
    let s = 0;
    for (let d = 0, at = j * D; d < D; d++) s += q[d] * k[at + d];
    scores[j] = s;
    max = Math.max(max, s);
  }
  if (max > state.max) {
    const keep = Math.exp(state.max - max);
    state.max = max;
    state.sum *= keep;
    state.squares *= keep * keep;
    for (let d = 0; d < D; d++) acc[d] *= keep;
  }
  let sum = 0, squares = 0;
  for (j = 0; j < n; j++) {
    const p = (scores[j] = Math.exp(scores[j] - max));
    sum += p;
    squares += p * p;
  }
  state.sum += sum;
  state.squares += squares;
  for (j = 0; j + 3 < n; j += 4) {
    const [a, b, c, e] = [j * D, (j + 1) * D, (j + 2) * D, (j + 3) * D];
    const p0 = scores[j], p1 = scores[j + 1], p2 = scores[j + 2], p3 = scores[j + 3];
    for (let d = 0; d < D; d++) acc[d] += p0 * v[a + d] + p1 * v[b + d] + p2 * v[c + d] + p3 * v[e + d];
  }
  for (; j < n; j++) for (let d = 0, at = j * D, p = scores[j]; d < D; d++) acc[d] += p * v[at + d];
}

function finish({ index, keys, acc, max, sum, squares }: State): ExactRow {
  for (let d = 0; d < acc.length; d++) acc[d] /= sum;
  return { index, keys, out: acc, lse: max + Math.log(sum), spread: Math.sqrt(squares) / sum };
}
