/** Results with faults in them, as other programs make them: float64 arithmetic of their own, rounded as they would. */
import { PADDING } from "../../../engine/layout/catalog.ts";
import { CAUSAL, isLocal, type Mask } from "../../../engine/layout/mask.ts";
import type { Sequence } from "../../../engine/layout/shards.ts";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import type { Attender, OpenAttender } from "../../../engine/reference/compare/expected.ts";
import type { Piece, Problem } from "../../../engine/reference/compare/problem.ts";
import type { Setting } from "../../../engine/reference/compare/setting.ts";
import { type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { Recorder } from "../../../engine/trace/clock.ts";

export const open: OpenAttender = (shape) => new CpuAttention(shape, new Recorder(0, 0)) as unknown as Attender;

/** A seeded problem. */
export function problemOf(more: Partial<Problem> = {}): Problem {
  const { sequences = [{ new: 90, cached: 0 }], heads = 4, kvHeads = 2, headDim: D = 16 } = more;
  const rows = sequences.reduce((sum, s) => sum + s.new, 0);
  const keys = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  return {
    q: seededRows(3, "q", 0, rows, heads * D),
    k: seededRows(3, "k", 0, keys, kvHeads * D),
    v: seededRows(3, "v", 0, keys, kvHeads * D),
    heads,
    kvHeads,
    headDim: D,
    sequences,
    dtype: "f32",
    ...more,
  };
}

/** O and LSE of one row and head. */
export interface Made {
  readonly o: number[];
  readonly lse: number;
}

/** A program's choices; each has a right default. */
export interface Program {
  readonly scale?: number;
  readonly sees?: (query: number, key: number) => boolean;
  readonly keyHead?: (head: number) => number;
  readonly valueHead?: (head: number) => number;
  readonly sinks?: readonly number[];
  readonly query?: (q: number[], position: number) => number[];
  readonly key?: (k: number[], position: number) => number[];
}

/** The definition of a mask, not the engine's. */
export function visible(mask: Mask): (query: number, key: number) => boolean {
  return (p, k) => {
    if (mask.kind === "full") return true;
    if (k > p) return false;
    if (!isLocal(mask)) return true;
    const near = mask.kind === "window" ? p - k < mask.size : Math.floor(p / mask.size) === Math.floor(k / mask.size);
    return near || k < (mask.sinkTokens ?? 0);
  };
}

/** Where a row of Q lies. */
export function whereIs(sequences: readonly Sequence[], row: number) {
  let [first, t] = [0, row];
  for (const [sequence, s] of sequences.entries()) {
    if (t < s.new) return { sequence, position: s.cached + t, first, keys: s.cached + s.new, cached: s.cached };
    t -= s.new;
    first += s.cached + s.new;
  }
  throw new RangeError(`row ${row}`);
}

/** One row and head over the keys at some positions of its sequence, by a program's choices. */
export function attend(
  p: Problem,
  row: number,
  head: number,
  program: Program = {},
  among?: (key: number) => boolean,
): Made {
  const { q, k, v, heads, kvHeads, headDim: D, sequences } = p;
  const { first, position, keys } = whereIs(sequences, row);
  const kvHead = Math.floor(head / (heads / kvHeads));
  const keyHead = program.keyHead?.(head) ?? kvHead;
  const vHead = program.valueHead?.(head) ?? keyHead;
  const scale = program.scale ?? 1 / Math.sqrt(D);
  const sees = program.sees ?? visible(p.mask ?? CAUSAL);
  const at = (x: Float32Array, i: number) => [...x.subarray(i * D, (i + 1) * D)];
  const query = program.query?.(at(q, row * heads + head), position) ?? at(q, row * heads + head);
  const scores: number[] = [];
  const values: number[][] = [];
  for (let j = 0; j < keys; j++) {
    if (!sees(position, j) || (among !== undefined && !among(j))) continue;
    const raw = at(k, (first + j) * kvHeads + keyHead);
    const key = program.key?.(raw, j) ?? raw;
    scores.push(query.reduce((sum, x, d) => sum + x * key[d], 0) * scale);
    values.push(at(v as Float32Array, (first + j) * kvHeads + vHead));
  }
  const sink = program.sinks?.[head] ?? -Infinity;
  const max = Math.max(sink, ...scores);
  if (max === -Infinity) return { o: new Array<number>(D).fill(0), lse: max };
  const weights = scores.map((s) => Math.exp(s - max));
  const sum = weights.reduce((a, b) => a + b, Math.exp(sink - max));
  const o = new Array<number>(D).fill(0).map((_, d) => weights.reduce((all, w, j) => all + w * values[j][d], 0) / sum);
  return { o, lse: max + Math.log(sum) };
}

/** Merges with weights. */
export function merge(parts: readonly Made[], weights: readonly number[] = parts.map(() => 1)): Made {
  const max = Math.max(...parts.map(({ lse }, i) => (weights[i] > 0 ? lse : -Infinity)));
  if (max === -Infinity) return parts[0];
  const w = parts.map(({ lse }, i) => weights[i] * Math.exp(lse - max));
  const sum = w.reduce((a, b) => a + b, 0);
  return {
    o: parts[0].o.map((_, d) => parts.reduce((all, { o }, i) => all + w[i] * o[d], 0) / sum),
    lse: max + Math.log(sum),
  };
}

/** What a faulty program makes of a row and head, at a place of a rank. */
export type Maker = (of: { row: number; head: number; rank: number; place: number }) => Made;

/** Pieces of final results, by rank; O rounded to `as`, as a program that computes in it returns it. */
export function shardsOf(p: Problem, setting: Setting, make: Maker, as: DType = "f32"): Piece[] {
  return setting.rows.map((rows, rank) => ({
    rank,
    rows,
    ...filled(p, rows, (row, place, head) => make({ row, head, rank, place }), as),
  }));
}

/** O and LSE of some places. */
export function filled(
  { heads, headDim: D }: Problem,
  rows: Int32Array,
  make: (row: number, place: number, head: number) => Made,
  as: DType,
): { readonly o: Float32Array; readonly lse: Float32Array } {
  const o = new Float32Array(rows.length * heads * D);
  const lse = new Float32Array(rows.length * heads);
  rows.forEach((row, place) => {
    if (row === PADDING) return;
    for (let head = 0; head < heads; head++) {
      const made = make(row, place, head);
      o.set(made.o, (place * heads + head) * D);
      lse[place * heads + head] = made.lse;
    }
  });
  return { o: fromBytes(toBytes(o, as), as), lse };
}
