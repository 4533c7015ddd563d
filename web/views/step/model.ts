/** A run that halts, as arithmetic: its halts, where each rank is, and a token's partial results hop by hop. */
import { type Halt, isLocal, type KeyRun, type Made, pairsOfRuns } from "../../engine/run.ts";
import type { ExactHop, ExactRow } from "../../lib/experiment/exact.ts";
import type { Experiment } from "../../lib/experiment/experiment.ts";

/** A point at which ranks halt. */
export interface HaltPoint {
  /** In the address: "0" is before the attention of hop 0. */
  readonly id: string;
  readonly name: string;
  readonly next: Halt["next"];
  readonly hop: number;
}

/** The halts of a rank, in order. */
export function haltPointsOf({ N, variant }: Pick<Experiment, "N" | "variant">): HaltPoint[] {
  const hops = Array.from(
    { length: N },
    (_, hop): HaltPoint => ({ id: String(hop), name: `hop ${hop}`, next: "attend", hop }),
  );
  const exchange: HaltPoint[] = variant === "pass-q" && N > 1
    ? [{ id: "all2all", name: "All2All", next: "all2all", hop: N - 1 }, {
      id: "merge",
      name: "merge",
      next: "merge",
      hop: N - 1,
    }]
    : [];
  return [...hops, ...exchange, { id: "end", name: "end", next: "end", hop: N - 1 }];
}

/** A run that halts or halted. */
export interface Walk {
  readonly experiment: Experiment;
  readonly points: readonly HaltPoint[];
  /** `log[k][i]` is what rank k reported at point i. */
  readonly log: readonly Halt[][];
  /** The number of points that each rank has left. */
  readonly left: number[];
  /** The rows of Q whose partials travel to the page; undefined for all. */
  readonly watch: readonly number[] | undefined;
}

/** Where a rank is: halted at its last point, on its way to the next one, at its end, or silent so far. */
export function standing({ log, left, points }: Walk, rank: number): "halted" | "going" | "end" | "unheard" {
  const reached = log[rank].length;
  if (reached === 0) return "unheard";
  if (reached === points.length) return "end";
  return left[rank] < reached ? "halted" : "going";
}

/**
 * The rank that a rank on its way waits for, as far as the halts show: the previous rank, which has not begun the hop
 * of the next transfer.
 */
export function waitsFor(walk: Walk, rank: number): number | undefined {
  const { log, experiment: { N } } = walk;
  if (standing(walk, rank) !== "going") return undefined;
  const point = walk.points[log[rank].length - 1];
  const before = (rank + N - 1) % N;
  if (point.next === "attend" && point.hop < N - 1) {
    const later = Array.from({ length: N - 1 - point.hop }, (_, i) => (rank + i) % N);
    const sent = needed(walk, (before - point.hop + N) % N, later);
    return sent && log[before].length <= point.hop ? before : undefined;
  }
  // A parcel leaves when its sender may start the All2All.
  const late = point.next === "all2all"
    ? log.findIndex((_, s) => s !== rank && walk.left[s] < N + 1 && needed(walk, rank, [s]))
    : -1;
  return late < 0 ? undefined : late;
}

/** Whether some of these ranks need what travels of `owner`: under a window or chunks, messages that none needs aren't sent. */
function needed({ log, experiment: { variant, mask } }: Walk, owner: number, ranks: readonly number[]): boolean {
  if (!isLocal(mask)) return true;
  return ranks.some((rank) => {
    const [asks, holds] = variant === "pass-q" ? [owner, rank] : [rank, owner];
    const [queries, keys] = [log[asks][0]?.queries?.runs, log[holds][0]?.keys?.runs];
    return queries === undefined || keys === undefined ||
      queries.some((q) => keys.some((k) => pairsOfRuns(q, k, mask) > 0));
  });
}

/** Bytes of all partials of a run: each row at each hop and, in pass-Q, after the merge. */
export function partialBytes({ T, H, D, Dv = D, N, variant }: Experiment, rows = T): number {
  return rows * (N + (variant === "pass-q" && N > 1 ? 1 : 0)) * H * (Dv + 1) * 4;
}

/** The most bytes of partials that the page keeps of one run. */
export const KEPT = 2 ** 26;

/** The rows that travel to the page: all if they fit, or else one token's. */
export function watchOf(experiment: Experiment, token: number): readonly number[] | undefined {
  return partialBytes(experiment) <= KEPT ? undefined : [Math.min(token, experiment.T - 1)];
}

/** The rank that holds a new token's query; undefined until it has halted. */
export function homeOf({ log, experiment: { P } }: Walk, row: number): number | undefined {
  const home = log.findIndex(([first]) =>
    first?.queries?.runs.some(({ start, length }) => start <= P + row && P + row < start + length)
  );
  return home < 0 ? undefined : home;
}

/** The keys of each hop of a rank's queries, as the ranks hold them, in order of hops; undefined until all have halted. */
export function keysByHop(
  { log, experiment: { N, variant } }: Walk,
  home: number,
): readonly { readonly owner: number; readonly rank: number; readonly runs: readonly KeyRun[] }[] | undefined {
  const held = log.map(([first]) => first?.keys?.runs);
  if (held.includes(undefined)) return undefined;
  return Array.from({ length: N }, (_, hop) => {
    const owner = variant === "pass-q" ? (home + hop) % N : (home - hop + N) % N;
    return { owner, rank: variant === "pass-q" ? owner : home, runs: held[owner]! };
  });
}

/** The number of keys of these runs that a new token sees. */
export function visible({ P, mask }: Pick<Experiment, "P" | "mask">, row: number, runs: readonly KeyRun[]): number {
  return runs.reduce((sum, run) => sum + pairsOfRuns({ start: P + row, length: 1 }, run, mask), 0);
}

/** O `[Dv]` and LSE of one row and head. */
export interface Row {
  readonly out: ArrayLike<number>;
  readonly lse: number;
}

/** One head of a row. */
export function headOf(
  { out, lse }: { readonly out: Float32Array | Float64Array; readonly lse: Float32Array | Float64Array },
  place: number,
  head: number,
  { H, D, Dv = D }: Pick<Experiment, "H" | "D" | "Dv">,
): Row {
  const at = place * H + head;
  return { out: out.subarray(at * Dv, (at + 1) * Dv), lse: lse[at] };
}

/** One head of a row of a reported partial; undefined if the row is not in it. */
export function rowOf(
  made: Made | undefined,
  row: number,
  head: number,
  shape: Pick<Experiment, "H" | "D" | "Dv">,
): Row | undefined {
  const place = made?.rows.indexOf(row) ?? -1;
  return place < 0 ? undefined : headOf(made!, place, head, shape);
}

/** Eq. 4 for two partials, in float64. */
export function merged(a: Row | undefined, b: Row): Row {
  if (a === undefined || a.lse === -Infinity) return b;
  if (b.lse === -Infinity) return a;
  const top = Math.max(a.lse, b.lse);
  const [of, and] = [Math.exp(a.lse - top), Math.exp(b.lse - top)];
  return { out: Array.from(a.out, (x, d) => (of * x + and * b.out[d]) / (of + and)), lse: top + Math.log(of + and) };
}

/** Euclidean distance of two outputs. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.hypot(...Array.from(a, (x, d) => x - b[d]));
}

/** Largest difference of two outputs. */
export function largest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((max, x, d) => Math.max(max, Math.abs(x - b[d])), 0);
}

/** An error of O and of LSE. */
export interface Off {
  readonly out: number;
  readonly lse: number;
}

/** The effect of one hop on a token and head. */
export interface MergeHop {
  readonly hop: number;
  /** The owner of its keys, the rank that attends, and how many of the keys the token sees. */
  readonly owner: number;
  readonly rank: number;
  readonly seen: number;
  /** The rank's partial: in pass-KV over all keys so far, in pass-Q over this hop's alone. */
  readonly partial?: Row;
  /** Over all keys so far: in pass-KV the partial, in pass-Q the partials that the page merges. */
  readonly soFar?: Row;
  /** The share of the final sum of exponentials that this hop's keys contribute. */
  readonly weight?: number;
  /** Distance of O so far from float64's final O. */
  readonly away?: number;
  /** The partial against float64 over the same keys: in all, from the wire's rounding, and the rest. */
  readonly error?: { readonly all: Off; readonly wire: Off; readonly rest: Off };
}

/** A token and head from hop to hop. */
export interface MergeStory {
  readonly home: number;
  readonly hops: readonly MergeHop[];
  /** The run's result; in pass-Q from the home rank's merge. */
  readonly final?: Row;
  /** The result in float64. */
  readonly exact?: Row;
}

/** A token and head from hop to hop. `exact`: float64's partials of the row, once the page has them. */
export function mergeStory(
  walk: Walk,
  row: number,
  head: number,
  exact: readonly ExactHop[] | undefined,
): MergeStory | undefined {
  const { experiment, log } = walk;
  const home = homeOf(walk, row);
  const keys = home === undefined ? undefined : keysByHop(walk, home);
  if (home === undefined || keys === undefined) return undefined;
  const passQ = experiment.variant === "pass-q";
  const of = (row: ExactRow) => headOf(row, 0, head, experiment);
  const last = exact && of(exact[exact.length - 1].soFar.given);
  let soFar: Row | undefined;
  let before = 0;
  const hops = keys.map(({ owner, rank, runs }, hop): MergeHop => {
    const { made } = log[rank][hop + 1] ?? {};
    // A query that sees no key of the rank may not have come there: it dropped out of the message.
    const absent = made !== undefined && made.queries.owner === home &&
      (walk.watch === undefined || walk.watch.includes(row));
    const partial = rowOf(made, row, head, experiment) ??
      (absent ? { out: new Float32Array(experiment.Dv ?? experiment.D), lse: -Infinity } : undefined);
    const fixed = { hop, owner, rank, seen: visible(experiment, row, runs) };
    if (partial === undefined) return fixed;
    soFar = passQ ? merged(soFar, partial) : partial;
    if (last === undefined) return { ...fixed, partial, soFar };
    const share = Math.exp(partial.lse - last.lse);
    const weight = passQ ? share : share - before;
    before = share;
    const same = passQ ? exact![hop].alone : exact![hop].soFar;
    const [truth, sent] = [of(same.given), of(same.sent)];
    const off = (a: Row, b: Row): Off => ({
      out: largest(a.out, b.out),
      lse: a.lse === b.lse ? 0 : Math.abs(a.lse - b.lse),
    });
    return {
      ...fixed,
      partial,
      soFar,
      weight,
      away: distance(soFar.out, last.out),
      error: { all: off(partial, truth), wire: off(sent, truth), rest: off(partial, sent) },
    };
  });
  const final = rowOf(log[home][walk.points.length - 1]?.made, row, head, experiment);
  return { home, hops, final, exact: last };
}

/** An f32 with the fewest digits that distinguish it from its neighbours. */
export function sayF32(x: number): string {
  if (!Number.isFinite(x)) return x === -Infinity ? "−∞" : String(x);
  for (let digits = 1; digits < 9; digits++) {
    if (Math.fround(Number(x.toPrecision(digits))) === x) return tidy(x.toPrecision(digits));
  }
  return tidy(x.toPrecision(9));
}

/** A float64 with ten digits. */
export function sayF64(x: number): string {
  return Number.isFinite(x) ? tidy(x.toPrecision(10)) : "−∞";
}

function tidy(digits: string): string {
  return digits.replace("-", "−").replace("e−", "e-");
}

/** Ranges of positions in words: "0–63 and 448–511". */
export function sayRuns(runs: readonly KeyRun[]): string {
  const joined: { start: number; end: number }[] = [];
  for (const { start, length } of runs) {
    const last = joined.at(-1);
    if (last?.end === start) last.end += length;
    else if (length > 0) joined.push({ start, end: start + length });
  }
  const said = joined.map(({ start, end }) => (end - start === 1 ? String(start) : `${start}–${end - 1}`));
  return said.length === 0
    ? "none"
    : [...(said.length > 2 ? [said.slice(0, -1).join(", ")] : said.slice(0, -1)), said.at(-1)].join(" and ");
}
