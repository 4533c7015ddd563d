/**
 * Rows of a seeded attention in float64, without its tensors: keys and values are made tile by tile, so that a row of a
 * million tokens needs the memory of one tile. A row's value depends on the batch and the row alone, not on the other
 * rows.
 */
import { offsets } from "../../layout/shards.ts";
import { valueHead } from "../../tensor/heads.ts";
import { seededKey, seededPart } from "../../tensor/seeded.ts";
import { countWithin, seenBy, type SeenKeys } from "../attention.ts";
import { score, weigh } from "../loops.ts";
import type { ExactRow, IndexedRows, SeededBatch } from "./types.ts";

/** Keys of a tile. */
const TILE = 256;

/** The result of one tile: the row-key pairs done, and the rows that they completed. */
export interface Tile {
  readonly pairs: number;
  readonly rows: readonly ExactRow[];
}

/** A row under way: online softmax, rescaled when a tile brings a larger score. */
interface State {
  readonly index: number;
  readonly keys: number;
  readonly ranges: readonly SeenKeys[];
  readonly q: Float64Array;
  /** Its head's learned logit; -Infinity without one. */
  readonly sink: number;
  readonly acc: Float64Array;
  max: number;
  sum: number;
  squares: number;
}

/** Computes rows; yields after each tile of keys, so that its caller can do other work in between. */
export function* recompute(batch: SeededBatch, rows: IndexedRows): Generator<Tile> {
  const { seed, sequences, heads, kvHeads, headDim: D, sinks } = batch;
  const { valueDim: Dv, valuesInKeys } = valueHead(batch);
  const scale = batch.scale ?? 1 / Math.sqrt(D);
  const group = heads / kvHeads;
  const starts = offsets(sequences.map((s) => s.new + s.cached));
  const [qKey, kKey, vKey] = (["q", "k", "v"] as const).map((name) => seededKey(seed, name));
  // f32 holds every seeded value exactly.
  const k = new Float32Array(TILE * D);
  const v = valuesInKeys ? k : new Float32Array(TILE * Dv);
  const scores = new Float64Array(TILE);
  // By sequence and KV head: what shares tiles.
  const shares = new Map<number, State[]>();
  for (const [index, [token, head]] of rows) {
    const { sequence, keys, ranges } = seenBy(batch, token);
    const q = new Float64Array(D);
    seededPart(q, 0, qKey, token, head * D, D);
    const share = sequence * kvHeads + Math.floor(head / group);
    shares.set(share, [...(shares.get(share) ?? []), {
      index,
      keys,
      ranges,
      q,
      sink: sinks?.[head] ?? -Infinity,
      acc: new Float64Array(Dv),
      max: -Infinity,
      sum: 0,
      squares: 0,
    }]);
  }
  for (const [share, states] of shares) {
    const [start, kvHead] = [starts[Math.floor(share / kvHeads)], share % kvHeads];
    const last = Math.max(...states.flatMap((s) => s.ranges.map(({ to }) => to)));
    for (let first = 0; first < last; first += TILE) {
      const size = Math.min(TILE, last - first);
      if (states.every(({ ranges }) => countWithin(ranges, first, first + size) === 0)) continue;
      for (let j = 0; j < size; j++) {
        seededPart(k, j * D, kKey, start + first + j, kvHead * D, D);
        if (!valuesInKeys) seededPart(v, j * Dv, vKey, start + first + j, kvHead * Dv, Dv);
      }
      let pairs = 0;
      const done: ExactRow[] = [];
      for (const state of states) {
        for (const { from, to } of state.ranges) {
          const [begin, end] = [Math.max(0, from - first), Math.min(size, to - first)];
          if (begin >= end) continue;
          attend(state, k, v, valuesInKeys ? D : Dv, scale, scores, begin, end);
          pairs += end - begin;
        }
        const { to } = state.ranges[state.ranges.length - 1];
        if (first < to && to <= first + size) done.push(finish(state));
      }
      yield { pairs, rows: done };
    }
  }
}

/** One row to the keys `from` to before `to` of a tile. `valueRow`: elements of a row that values lie in. */
function attend(
  state: State,
  k: Float32Array,
  v: Float32Array,
  valueRow: number,
  scale: number,
  scores: Float64Array,
  from: number,
  to: number,
): void {
  const { q, acc } = state;
  const D = q.length;
  const max = Math.max(state.max, score(q, k, 0, D, from, to, scale, scores));
  if (max > state.max) {
    const keep = Math.exp(state.max - max);
    state.max = max;
    state.sum *= keep;
    state.squares *= keep * keep;
    for (let d = 0; d < acc.length; d++) acc[d] *= keep;
  }
  state.sum += weigh(scores, max, v, 0, valueRow, from, to, scores, acc);
  for (let j = from; j < to; j++) state.squares += scores[j] * scores[j];
}

/** Divides by the denominator, which has the sink once. */
function finish({ index, keys, sink, acc, max: seen, sum, squares }: State): ExactRow {
  const max = Math.max(seen, sink);
  const keep = Math.exp(seen - max);
  const all = sum * keep + Math.exp(sink - max);
  for (let d = 0; d < acc.length; d++) acc[d] *= keep / all;
  return { index, keys, out: acc, lse: max + Math.log(all), spread: Math.sqrt(squares) * keep / all };
}
