/**
 * The right result of every piece, in f32 on a device of this machine: fast enough for all rows. What is found wrong is
 * then computed again in float64.
 */
import { joined, type Range, type Run } from "../../layout/shards.ts";
import { PADDING } from "../../layout/catalog.ts";
import type { Block } from "../../layout/shards.ts";
import { maskFrom } from "../../layout/mask.ts";
import type { Attention } from "../../ring/contract.ts";
import { mergeSinks, NO_KEYS, outcomeOf, type RankChunk, rankChunk, type Shape } from "../../ring/chunk.ts";
import { isPrefixOfK, valueHead } from "../../tensor/heads.ts";
import { toBytes } from "../../tensor/dtype.ts";
import { type Piece, type Problem, tokenOf } from "./problem.ts";

/** A device for one shape; its handles are its own. */
// deno-lint-ignore no-explicit-any -- each back-end has its own handles
export interface Attender extends Attention<RankChunk, any, any, any> {
  result(partial: unknown): Promise<ArrayBuffer>;
  dispose(failed: boolean): void;
}

/** Makes a device for a shape. */
export type OpenAttender = (shape: Shape) => Attender;

/** The right values of a piece's places; what padding holds means nothing. */
export interface Expected {
  /** O `[places, H, Dv]`. */
  readonly o: Float32Array;
  /** LSE `[places, H]`; -Infinity where no key is seen. */
  readonly lse: Float32Array;
  /** sqrt(sum p^2) of the softmax weights p, `[places, H]`; 1 where nothing needs it. */
  readonly spread: Float32Array;
}

/** Rows of queries, and of keys, of one call. */
const QUERY_ROWS = 4096;
const KEY_ROWS = 32_768;

/** The right values of a piece. */
export async function expectedOf(
  problem: Problem,
  piece: Piece,
  open: OpenAttender,
  pause: () => Promise<void>,
): Promise<Expected> {
  const { heads } = problem;
  const { valueDim } = valueHead(problem);
  const places = piece.rows.length;
  const out: Expected = {
    o: new Float32Array(places * heads * valueDim),
    lse: new Float32Array(places * heads).fill(-Infinity),
    spread: new Float32Array(places * heads).fill(1),
  };
  const order = [...piece.rows.keys()].filter((place) => piece.rows[place] !== PADDING)
    .sort((a, b) => piece.rows[a] - piece.rows[b]);
  const held = keysOf(problem, piece);
  const scale = problem.scale ?? 1 / Math.sqrt(problem.headDim);
  for (let from = 0; from < order.length; from += QUERY_ROWS) {
    const some = order.slice(from, from + QUERY_ROWS);
    const rows = some.map((place) => piece.rows[place]);
    const sinks = piece.hop === undefined ? problem.sinks : undefined;
    const once = await attend(problem, rows, held, scale, sinks, open, pause);
    // sqrt(sum p^2) is in the LSE of twice the scores; only the 16-bit bounds ask for it.
    const twice = problem.dtype === "f32"
      ? undefined
      : await attend(problem, rows, held, 2 * scale, undefined, open, pause);
    for (const [i, place] of some.entries()) {
      out.o.set(once.o.subarray(i * once.width, (i + 1) * once.width), place * once.width);
      for (let h = 0; h < heads; h++) {
        const lse = once.lse[i * heads + h];
        if (lse <= 0.5 * NO_KEYS) continue;
        out.lse[place * heads + h] = lse;
        if (twice === undefined) continue;
        const squares = twice.lse[i * heads + h];
        out.spread[place * heads + h] = squares <= 0.5 * NO_KEYS ? 0 : Math.min(1, Math.exp(squares / 2 - lse));
      }
    }
  }
  return out;
}

/** The keys of a piece as runs of each sequence, ascending. */
function keysOf({ sequences }: Problem, { held }: Piece): readonly (readonly Range[])[] {
  return sequences.map((s, i) => {
    if (held === undefined) return [{ start: 0, end: s.cached + s.new }];
    const own = held.filter(({ sequence }) => sequence === i).map(({ start, length }) => ({
      start,
      end: start + length,
    }));
    return joined(own.sort((a, b) => a.start - b.start));
  });
}

async function attend(
  problem: Problem,
  rows: readonly number[],
  held: readonly (readonly Range[])[],
  scale: number,
  sinks: Float32Array | undefined,
  open: OpenAttender,
  pause: () => Promise<void>,
): Promise<ReturnType<typeof outcomeOf>> {
  const { q, k, v, heads, kvHeads, headDim, sequences } = problem;
  const shape: Shape = {
    heads,
    kvHeads,
    headDim,
    ...valueHead(problem),
    scale,
    mask: maskFrom(problem),
    q: "f32",
    kv: "f32",
  };
  const device = open(shape);
  let failed = true;
  try {
    const width = heads * headDim;
    const queries = new Float32Array(rows.length * width);
    rows.forEach((row, i) => queries.set(q.subarray(row * width, (row + 1) * width), i * width));
    const block: Block = { runs: runsOf(problem, rows), rows: rows.length };
    const loaded = device.loadQueries(rankChunk(0, block, queries.buffer), 0);
    const wanted = new Set(block.runs.map(({ sequence }) => sequence));
    let partial: unknown;
    for (const [sequence, ranges] of held.entries()) {
      if (!wanted.has(sequence)) continue;
      const first = sequences.slice(0, sequence).reduce((sum, s) => sum + s.cached + s.new, 0);
      for (const { start, end } of ranges.flatMap((range) => slices(range, KEY_ROWS))) {
        await pause();
        const [kWidth, vWidth] = [kvHeads * headDim, kvHeads * shape.valueDim];
        const part = (x: Float32Array, w: number) => x.subarray((first + start) * w, (first + end) * w);
        const both = isPrefixOfK(v) ? [part(k, kWidth)] : [part(k, kWidth), part(v, vWidth)];
        const data = new Float32Array(both.reduce((sum, { length }) => sum + length, 0));
        both.reduce((at, x) => (data.set(x, at), at + x.length), 0);
        const keys: Block = { runs: [{ sequence, start, length: end - start, row: 0 }], rows: end - start };
        partial = await device.attend(0, loaded, device.loadKeys(rankChunk(0, keys, toBytes(data, "f32")), 0), partial);
      }
    }
    if (partial === undefined) {
      const none = device.loadKeys(rankChunk(0, { runs: [], rows: 0 }, new ArrayBuffer(0)), 0);
      partial = await device.attend(0, loaded, none);
    }
    const data = await device.result(partial);
    if (sinks !== undefined) mergeSinks(data, shape, sinks);
    failed = false;
    return outcomeOf(data, shape);
  } finally {
    device.dispose(failed);
  }
}

/** Ascending rows of Q as runs of their sequences. */
function runsOf({ sequences }: Problem, rows: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const [i, row] of rows.entries()) {
    const { sequence, position } = tokenOf(sequences, row);
    const last = runs.at(-1);
    if (last?.sequence === sequence && last.start + last.length === position) {
      runs[runs.length - 1] = { ...last, length: last.length + 1 };
    } else runs.push({ sequence, start: position, length: 1, row: i });
  }
  return runs;
}

function slices({ start, end }: Range, most: number): Range[] {
  return Array.from({ length: Math.ceil((end - start) / most) }, (_, i) => ({
    start: start + i * most,
    end: Math.min(end, start + (i + 1) * most),
  }));
}

/** What a rank has merged after each of its hops, from the results of the hops alone. */
export function soFar(hops: readonly Expected[]): Expected[] {
  const out: Expected[] = [];
  for (const hop of hops) {
    const before = out.at(-1);
    if (before === undefined) {
      out.push(hop);
      continue;
    }
    const made = { o: hop.o.slice(), lse: hop.lse.slice(), spread: hop.spread.slice() };
    const width = hop.o.length / hop.lse.length;
    for (let i = 0; i < hop.lse.length; i++) {
      const top = Math.max(before.lse[i], hop.lse[i]);
      if (top === -Infinity) continue;
      const [a, b] = [Math.exp(before.lse[i] - top), Math.exp(hop.lse[i] - top)];
      for (let d = i * width; d < (i + 1) * width; d++) made.o[d] = (a * before.o[d] + b * hop.o[d]) / (a + b);
      made.lse[i] = top + Math.log(a + b);
      made.spread[i] = Math.hypot(a * before.spread[i], b * hop.spread[i]) / (a + b);
    }
    out.push(made);
  }
  return out;
}
