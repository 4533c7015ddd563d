/** The books of a session: what each rank's cache holds, page by page, and every row that it got. */
import { LimitError } from "../errors.ts";
import { PAGE, Pages } from "../layout/pages.ts";
import { count, type Range } from "../layout/shards.ts";
import type { CachedRows } from "../rank/cache.ts";
import { fromBytes } from "../tensor/dtype.ts";
import { type Cached, NOTHING_CACHED } from "./ranges.ts";
import type { Snapshot } from "./snapshot.ts";

/** Counts tokens by sequence and rank, and keeps cached rows as bytes, so that a replaced rank can be filled again. */
export class Ledger {
  /** The same bookkeeping as on each rank. */
  readonly #pages: readonly Pages[];
  /** Everything appended to each rank, in order. */
  readonly #log: CachedRows[][];
  /** The largest keys and values of each sequence, which later queries meet. */
  readonly #cached: Map<number, Cached>;
  #steps: number;

  /** Empty books of `size` ranks whose caches hold `capacity` tokens each. */
  constructor(size: number, capacity: number, cached = new Map<number, Cached>(), steps = 0) {
    this.#pages = Array.from({ length: size }, () => new Pages(Math.ceil(capacity / PAGE)));
    this.#log = this.#pages.map(() => []);
    this.#cached = cached;
    this.#steps = steps;
  }

  /** The books after a snapshot. Errors: LimitError if it doesn't fit. */
  static of(snapshot: Snapshot, capacity: number): Ledger {
    const { size, ranks, steps } = snapshot;
    const ledger = new Ledger(size, capacity, largestCached(ranks.flat(), snapshot), steps);
    ranks.forEach((rows, rank) => {
      for (const { sequence, ranges } of rows) ledger.#take(rank, sequence, ranges);
      ledger.#log[rank].push(...rows);
    });
    return ledger;
  }

  /** Steps committed. */
  get steps(): number {
    return this.#steps;
  }

  get ranks(): readonly number[] {
    return [...this.#pages.keys()];
  }

  /** Pages in each rank's cache, and pages in use. */
  get pages(): { readonly capacity: number; readonly used: readonly number[] } {
    return { capacity: this.#pages[0].capacity, used: this.#pages.map((p) => p.used) };
  }

  /** Every sequence's tokens on every rank. */
  get tokens(): { readonly sequence: number; readonly perRank: readonly number[] }[] {
    const sequences = [...new Set(this.#pages.flatMap((p) => p.sequences))].sort((a, b) => a - b);
    return sequences.map((sequence) => ({ sequence, perRank: this.held(sequence) }));
  }

  /** Positions of a sequence on a rank. */
  ranges(rank: number, sequence: number): readonly Range[] {
    return this.#pages[rank].ranges(sequence);
  }

  /** A sequence's tokens on every rank. */
  held(sequence: number): number[] {
    return this.#pages.map((p) => count(p.ranges(sequence)));
  }

  /** A sequence's tokens. */
  length(sequence: number): number {
    return this.held(sequence).reduce((sum, n) => sum + n, 0);
  }

  /** The extremes of a sequence's cached rows. */
  cached(sequence: number): Cached | undefined {
    return this.#cached.get(sequence);
  }

  /** Everything appended to a rank, in order. */
  log(rank: number): readonly CachedRows[] {
    return this.#log[rank];
  }

  /**
   * Takes room for `ranges[rank][i]` of each sequence i. `commit` or `rollback` must follow. Throws LimitError naming
   * rank, have and need in tokens, before anything changes.
   */
  begin(sequences: readonly number[], ranges: readonly (readonly (readonly Range[])[])[]): void {
    for (const pages of this.#pages) pages.begin();
    try {
      ranges.forEach((own, rank) => sequences.forEach((sequence, i) => this.#take(rank, sequence, own[i])));
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** Enters a step: each rank's new rows, and what each sequence has cached after it. */
  commit(appends: readonly (readonly CachedRows[])[], cached: readonly (readonly [sequence: number, Cached])[]): void {
    for (const pages of this.#pages) pages.commit();
    appends.forEach((rows, rank) => this.#log[rank].push(...rows));
    for (const [sequence, after] of cached) this.#cached.set(sequence, after);
    this.#steps++;
  }

  /** Gives back the room taken since `begin`. */
  rollback(): void {
    for (const pages of this.#pages) pages.rollback();
  }

  /** Strikes a sequence out. */
  drop(sequence: number): void {
    for (const pages of this.#pages) pages.drop(sequence);
    for (const [rank, log] of this.#log.entries()) this.#log[rank] = log.filter((rows) => rows.sequence !== sequence);
    this.#cached.delete(sequence);
  }

  /** Forgets the rows, which take memory. */
  clear(): void {
    for (const log of this.#log) log.length = 0;
  }

  #take(rank: number, sequence: number, ranges: readonly Range[]): void {
    try {
      this.#pages[rank].append(sequence, ranges);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      throw new LimitError(
        `rank ${rank}: free tokens of the KV cache, in pages of ${PAGE} ` +
          "(drop a sequence, or open the session with more capacity)",
        error.have * PAGE,
        error.need * PAGE,
        undefined,
        "it",
        `sequence ${sequence}`,
      );
    }
  }
}

/** The largest magnitudes of each sequence's cached rows. */
function largestCached(
  rows: readonly CachedRows[],
  { headDim, valueDim, valuesInKeys, wireDtype }: Omit<Snapshot, "ranks">,
): Map<number, Cached> {
  const found = new Map<number, Cached>();
  const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  for (const { sequence, ranges, data } of rows) {
    const values = fromBytes(data, wireDtype);
    const { tokens, k, v } = found.get(sequence) ?? NOTHING_CACHED;
    const keys = valuesInKeys ? values.length : (values.length * headDim) / (headDim + valueDim);
    found.set(sequence, {
      tokens: tokens + count(ranges),
      k: Math.max(k, largest(values.subarray(0, keys))),
      v: Math.max(v, largest(values.subarray(valuesInKeys ? 0 : keys))),
    });
  }
  return found;
}
