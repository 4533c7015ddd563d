/**
 * A conversation: a KV cache that stays on the ranks, grown by prefill and decode steps that either happen whole or not
 * at all.
 */
import * as Comlink from "comlink";
import { InputError, LimitError } from "../errors.ts";
import { dealDecode, dealPrefill } from "../layout/deal.ts";
import { PAGE, Pages } from "../layout/pages.ts";
import { type Block, block, count, type Range } from "../layout/shards.ts";
import type { Choice } from "../policy/index.ts";
import type { CachedRows } from "../rank/cache.ts";
import { publicLse, rankChunk } from "../ring/chunk.ts";
import type { StepJob } from "../rank/job.ts";
import { decode, type DType, encode } from "../tensor/dtype.ts";
import { now } from "../trace/clock.ts";
import { chooseVariant } from "./rates.ts";
import { reportOf, type Shared } from "./report.ts";
import { shapeOf } from "./shape.ts";
import { packSnapshot, type Snapshot, snapshotBytes, unpackSnapshot } from "./snapshot.ts";
import type {
  SessionFace,
  SessionOptions,
  SessionOutput,
  SessionRows,
  StepOptions,
  StepReport,
  StepResult,
  Variant,
} from "./types.ts";
import { type Cached, NOTHING_CACHED, validateRows, validateRun, validateSession, validateStep } from "./validate.ts";

/** Tokens that a rank's cache holds by default. */
const DEFAULT_CAPACITY = 16_384;

type Options = Required<Omit<SessionOptions, "scale" | "rates">> & Pick<SessionOptions, "scale" | "rates">;

/**
 * A session. One step at a time; a step that fails or is cancelled leaves every rank's cache as it was. What is cached
 * is also kept here, as bytes, so that a rank that dies can be replaced (`cluster.repair()`) without loss.
 */
export class Session implements SessionFace {
  readonly options: Options;
  readonly #cluster: Shared;
  readonly #id: number;
  /** What each rank's cache holds, page by page: the same bookkeeping as on the rank. */
  #pages: Pages[];
  /** Everything appended to each rank, in order. */
  #log: CachedRows[][];
  /** The largest keys and values of each sequence, which later queries meet. */
  #cachedSoFar = new Map<number, Cached>();
  #steps = 0;
  /** Whether the cluster's planned fault has struck: what is tried again after a repair must go through. */
  #struck = false;
  /** Ranks whose cache is not what the log says: replaced ones, and all of them while a snapshot is restored. */
  readonly #stale = new Set<number>();
  /** Aborts when the session is disposed. */
  readonly #end = new AbortController();
  #closed: Promise<void> | undefined;

  private constructor(cluster: Shared, id: number, options: Options) {
    this.#cluster = cluster;
    this.#id = id;
    this.options = options;
    this.#pages = this.#empty();
    this.#log = this.#pages.map(() => []);
  }

  /** Opens the caches on a cluster's ranks; called by `Cluster.session`. */
  static async open(cluster: Shared, id: number, given: SessionOptions): Promise<Session> {
    validateSession(given);
    const options: Options = {
      ...given,
      wireDtype: given.wireDtype ?? "f32",
      capacity: given.capacity ?? DEFAULT_CAPACITY,
      variant: given.variant ?? "auto",
    };
    const session = new Session(cluster, id, options);
    try {
      await Promise.all(session.#pages.map((_, rank) => session.#openCache(rank)));
    } catch (error) {
      await cluster.ranks.tell((service) => service.closeCache(id));
      throw error;
    }
    return session;
  }

  /** Tokens that each rank can hold (whole pages), and pages in use on each. */
  get capacity(): {
    readonly tokensPerRank: number;
    readonly pageTokens: number;
    readonly pagesUsed: readonly number[];
    readonly pages: number;
  } {
    const pages = this.#pages[0].capacity;
    return { tokensPerRank: pages * PAGE, pageTokens: PAGE, pages, pagesUsed: this.#pages.map((p) => p.used) };
  }

  /** Every sequence's tokens on every rank. They differ by at most 1 (see deal.ts). */
  get tokens(): { readonly sequence: number; readonly perRank: readonly number[] }[] {
    const sequences = [...new Set(this.#pages.flatMap((p) => p.sequences))].sort((a, b) => a - b);
    return sequences.map((sequence) => ({ sequence, perRank: this.#held(sequence) }));
  }

  get disposed(): boolean {
    return this.#closed !== undefined;
  }

  /** Steps done. */
  get steps(): number {
    return this.#steps;
  }

  /** Appends rows to some sequences, new ones included, in one fused ring pass; O and LSE of the new rows. */
  async prefill(batch: readonly SessionRows[], options: StepOptions = {}): Promise<StepResult> {
    validateStep(options, this.#cluster.size, this.#cluster.backend);
    return await this.#exclusive("prefill", async () => {
      const { lengths, cached } = this.#checked(batch);
      const dealt = batch.map(({ sequence }, i) =>
        dealPrefill(lengths[i], this.#length(sequence), this.#held(sequence))
      );
      const ranges = this.#pages.map((_, rank) => dealt.map((d) => d[rank]));
      const padding = batch.map((_, i) => Math.max(...ranges.map((own) => count(own[i]))));
      const queries = ranges.map((own) => block(own, padding));
      const sequences = batch.map(({ sequence }, i) => ({ new: lengths[i], cached: this.#length(sequence) }));
      const wanted = options.variant ?? this.options.variant;
      const choice = wanted === "auto" ? chooseVariant(this.#cluster, { ...this.options, sequences }) : undefined;
      return await this.#step(
        "prefill",
        batch,
        ranges,
        queries,
        choice?.variant ?? (wanted as Variant),
        choice,
        cached,
        options,
      );
    }, options.signal);
  }

  /** Appends one row to each of some sequences that have rows already: batched ring pass-Q decode (Algorithm 4). */
  async decode(batch: readonly SessionRows[], options: Omit<StepOptions, "variant"> = {}): Promise<StepResult> {
    validateStep(options, this.#cluster.size, this.#cluster.backend);
    return await this.#exclusive("decode", async () => {
      const { lengths, cached } = this.#checked(batch);
      batch.forEach(({ sequence }, i) => {
        if (lengths[i] !== 1) {
          throw new InputError(
            `decode: sequence ${sequence}: found ${lengths[i]} rows, expected 1; prefill appends more`,
          );
        }
        if (this.#length(sequence) === 0) {
          throw new InputError(`decode: sequence ${sequence} has no rows yet, expected some: prefill it first`);
        }
      });
      const owners = dealDecode(batch.map(({ sequence }) => this.#held(sequence)), this.#steps);
      const ranges = this.#pages.map((_, rank) =>
        batch.map(({ sequence }, i): Range[] => {
          const at = this.#length(sequence);
          return owners[i] === rank ? [{ start: at, end: at + 1 }] : [];
        })
      );
      // Queries are padded to the same number on every rank, so to a multiple of N.
      const rows = Math.max(...ranges.map((own) => own.reduce((sum, r) => sum + count(r), 0)));
      const queries = ranges.map((own): Block => ({ runs: block(own).runs, rows }));
      return await this.#step("decode", batch, ranges, queries, "pass-q", undefined, cached, options);
    }, options.signal);
  }

  /** Forgets a sequence and frees its pages. */
  async drop(sequence: number): Promise<void> {
    await this.#exclusive("drop", async () => {
      const held = this.tokens.map((t) => t.sequence);
      if (!held.includes(sequence)) {
        throw new InputError(`drop: found sequence ${sequence}, expected one of ${held.join(", ") || "none"}`);
      }
      for (const pages of this.#pages) pages.drop(sequence);
      this.#log = this.#log.map((log) => log.filter((rows) => rows.sequence !== sequence));
      this.#cachedSoFar.delete(sequence);
      await this.#cluster.ranks.tell((service) => service.drop(this.#id, sequence));
    });
  }

  /** All that the ranks have cached, read from them, as bytes. Errors: RankError. */
  async snapshot(): Promise<Uint8Array> {
    return await this.#exclusive("snapshot", async () => {
      const ranks = await this.#cluster.ranks.askAll((service) => service.copyCache(this.#id));
      return await packSnapshot({ ...this.#identity(), steps: this.#steps, ranks });
    });
  }

  /**
   * Puts the cache back to a snapshot of a session of the same shape and ranks. Errors: InputError and LimitError
   * before anything changes; RankError, after which the session is what it was.
   */
  async restore(bytes: Uint8Array): Promise<void> {
    const own = snapshotBytes(bytes);
    await this.#exclusive("restore", async () => {
      const snapshot = await unpackSnapshot(own, this.#identity());
      const pages = this.#empty();
      snapshot.ranks.forEach((rows, rank) => {
        for (const { sequence, ranges } of rows) this.#take(pages[rank], rank, sequence, ranges);
      });
      const before = [this.#pages, this.#log, this.#steps, this.#cachedSoFar] as const;
      const everyRank = [...pages.keys()];
      const cached = largestCached(snapshot.ranks.flat(), this.options.wireDtype);
      [this.#pages, this.#log, this.#steps, this.#cachedSoFar] = [
        pages,
        snapshot.ranks.map((rows) => [...rows]),
        snapshot.steps,
        cached,
      ];
      try {
        await this.refill(everyRank);
      } catch (error) {
        [this.#pages, this.#log, this.#steps, this.#cachedSoFar] = before;
        for (const rank of everyRank) this.#stale.add(rank);
        throw error;
      }
    });
  }

  /** Gives the ranks' memory back; a step that is under way is cancelled. */
  dispose(): Promise<void> {
    return this.#closed ??= (async () => {
      this.#end.abort(new DOMException("the session was disposed", "AbortError"));
      await this.#cluster.ranks.idle();
      this.#log = [];
      await this.#cluster.ranks.tell((service) => service.closeCache(this.#id));
    })();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /**
   * Fills the caches of `ranks`, and of those that are not what the log says, from the log of what was appended; called
   * by `Cluster.repair` too.
   */
  async refill(ranks: readonly number[] = []): Promise<void> {
    if (this.disposed) return;
    for (const rank of ranks) this.#stale.add(rank);
    for (const rank of [...this.#stale]) {
      await this.#openCache(rank);
      await this.#cluster.ranks.ask(rank, (service) => service.fillCache(this.#id, this.#log[rank]));
      this.#stale.delete(rank);
    }
  }

  /** One thing at a time on the cluster, on caches that are what the log says. */
  async #exclusive<T>(what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#requireOpen();
    return await this.#cluster.ranks.exclusive(what, async () => {
      this.#requireOpen();
      await this.refill();
      return await work();
    }, this.#stop(signal));
  }

  async #step(
    mode: StepReport["mode"],
    batch: readonly SessionRows[],
    ranges: Range[][][],
    queries: readonly Block[],
    variant: Variant,
    choice: Choice | undefined,
    cached: readonly Cached[],
    options: StepOptions,
  ): Promise<StepResult> {
    const { wireDtype, heads, kvHeads, headDim } = this.options;
    const shape = { ...shapeOf(this.options, variant, wireDtype, true), kv: wireDtype };
    const before = batch.map(({ sequence }) => this.#length(sequence));
    const tokens = {
      new: batch.reduce((sum, { q }) => sum + q.length / (heads * headDim), 0),
      cached: before.reduce((sum, n) => sum + n, 0),
    };
    validateRun({ ...this.options, variant }, tokens, this.#cluster.size, this.#cluster.options.link);
    for (const pages of this.#pages) pages.begin();
    try {
      ranges.forEach((own, rank) =>
        batch.forEach(({ sequence }, i) => this.#take(this.#pages[rank], rank, sequence, own[i]))
      );
    } catch (error) {
      for (const pages of this.#pages) pages.rollback();
      throw error;
    }
    const appends = ranges.map((own) =>
      batch.flatMap((rows, i) => (count(own[i]) === 0 ? [] : [this.#cached(rows, own[i], before[i])]))
    );
    const sequences = batch.map((b) => b.sequence);
    const lengths = sequences.map((s) => Math.max(...this.#held(s)));
    const { id, origin } = this.#cluster.ranks.newJob();
    const step = this.#steps;
    const planned = this.#cluster.options.fault;
    const strikes = planned?.step === step && !this.#struck;
    if (strikes) this.#struck = true;
    const fault = options.fault ?? (strikes ? planned : undefined);
    let done = false;
    try {
      const outcomes = await this.#cluster.ranks.run(id, { ...options, signal: this.#stop(options.signal) }, (rank) => {
        const q = rankChunk(
          rank,
          named(queries[rank], sequences),
          encode(gatherQueries(queries[rank], batch, before, heads * headDim), shape.q),
        );
        const copies = appends[rank].map((rows) => ({ ...rows, data: rows.data.slice(0) }));
        const job: StepJob = {
          id,
          origin,
          variant,
          shape,
          q,
          session: this.#id,
          appends: copies,
          sequences,
          lengths,
          fault,
        };
        return this.#cluster.ranks.service(rank).step(Comlink.transfer(job, [q.data, ...copies.map((c) => c.data)]));
      }, () => this.#cluster.ranks.tell((service) => service.settle(this.#id, false)));
      const total = now() - origin;
      const perSequence = batch.map((b, i) => ({
        sequence: b.sequence,
        new: b.q.length / (heads * headDim),
        cached: before[i],
      }));
      const outputs = batch.map((b, i): SessionOutput => ({
        sequence: b.sequence,
        out: new Float32Array(b.q.length),
        lse: new Float32Array(perSequence[i].new * heads),
      }));
      outcomes.forEach(({ data }, rank) => scatter(data, queries[rank], before, outputs, heads, headDim));
      for (const pages of this.#pages) pages.commit();
      appends.forEach((rows, rank) => this.#log[rank].push(...rows));
      batch.forEach(({ sequence }, i) => this.#cachedSoFar.set(sequence, cached[i]));
      this.#steps++;
      done = true;
      await this.#cluster.ranks.tell((service) => service.settle(this.#id, true));
      if (mode === "prefill") this.#cluster.rates.add(outcomes.flatMap((o) => o.spans), this.#cluster.size);
      const facts = reportOf(this.#cluster, outcomes, {
        variant,
        choice,
        wireDtype,
        sequences: perSequence,
        shape: { ...shape, heads, kvHeads, headDim },
        total,
      });
      const fresh = perSequence.reduce((sum, s) => sum + s.new, 0);
      const all = perSequence.reduce((sum, s) => sum + s.new + s.cached, 0);
      const paddingBytes = facts.perRank.reduce((sum, r) => sum + r.paddingBytes, 0);
      return {
        outputs,
        report: { ...facts, step, mode, batch: perSequence, missRate: fresh / all, paddingBytes, tokens: this.tokens },
      };
    } catch (error) {
      if (!done) { for (const pages of this.#pages) pages.rollback(); }
      throw error;
    }
  }

  /** The caller's signal, and the end of this session. */
  #stop(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#end.signal : AbortSignal.any([signal, this.#end.signal]);
  }

  /** Takes room in a rank's bookkeeping. Throws LimitError naming rank, have and need in tokens. */
  #take(pages: Pages, rank: number, sequence: number, ranges: readonly Range[]): void {
    try {
      pages.append(sequence, ranges);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      throw new LimitError(
        `rank ${rank}: free tokens of the KV cache, in pages of ${PAGE} (drop a sequence, or open the session with more capacity)`,
        error.have * PAGE,
        error.need * PAGE,
        undefined,
        "it",
        `sequence ${sequence}`,
      );
    }
  }

  /** Checks a batch; the rows of each sequence, and what each has cached after them. */
  #checked(batch: readonly SessionRows[]): { lengths: number[]; cached: Cached[] } {
    if (!Array.isArray(batch) || batch.length === 0) {
      throw new InputError("batch: found no sequence, expected an array of at least one");
    }
    const seen = new Set<number>();
    const checked = batch.map((rows) => {
      const found = validateRows(rows, this.options, this.#cachedSoFar.get(rows?.sequence));
      if (seen.has(rows.sequence)) {
        throw new InputError(`batch: found sequence ${rows.sequence} twice, expected each once`);
      }
      seen.add(rows.sequence);
      return found;
    });
    return { lengths: checked.map(({ T }) => T), cached: checked.map(({ cached }) => cached) };
  }

  #requireOpen(): void {
    if (this.disposed) throw new InputError("session: it was disposed, expected an open one: open another");
  }

  #cached(rows: SessionRows, ranges: readonly Range[], from: number): CachedRows {
    const width = this.options.kvHeads * this.options.headDim;
    const n = count(ranges);
    const both = new Float32Array(2 * n * width);
    let at = 0;
    for (const { start, end } of ranges) {
      both.set(rows.k.subarray((start - from) * width, (end - from) * width), at * width);
      both.set(rows.v.subarray((start - from) * width, (end - from) * width), (n + at) * width);
      at += end - start;
    }
    return { sequence: rows.sequence, ranges, data: encode(both, this.options.wireDtype) };
  }

  #held(sequence: number): number[] {
    return this.#pages.map((p) => count(p.ranges(sequence)));
  }

  #length(sequence: number): number {
    return this.#held(sequence).reduce((sum, n) => sum + n, 0);
  }

  #empty(): Pages[] {
    return Array.from({ length: this.#cluster.size }, () => new Pages(Math.ceil(this.options.capacity / PAGE)));
  }

  async #openCache(rank: number): Promise<void> {
    const { kvHeads, headDim, wireDtype } = this.options;
    const setup = { session: this.#id, pages: this.#pages[rank].capacity, width: kvHeads * headDim, dtype: wireDtype };
    await this.#cluster.ranks.ask(rank, (service) => service.openCache(setup));
  }

  #identity(): Omit<Snapshot, "steps" | "ranks"> {
    const { heads, kvHeads, headDim, wireDtype } = this.options;
    return { size: this.#cluster.size, heads, kvHeads, headDim, wireDtype };
  }
}

/** A block of the batch's i-th entries as one of sequences. */
function named(b: Block, sequences: readonly number[]): Block {
  return { rows: b.rows, runs: b.runs.map((run) => ({ ...run, sequence: sequences[run.sequence] })) };
}

function gatherQueries(
  b: Block,
  batch: readonly SessionRows[],
  before: readonly number[],
  width: number,
): Float32Array {
  const rows = new Float32Array(b.rows * width);
  for (const run of b.runs) {
    const at = run.start - before[run.sequence];
    rows.set(batch[run.sequence].q.subarray(at * width, (at + run.length) * width), run.row * width);
  }
  return rows;
}

function scatter(
  data: ArrayBuffer,
  b: Block,
  before: readonly number[],
  outputs: readonly SessionOutput[],
  heads: number,
  headDim: number,
): void {
  const o = new Float32Array(data, 0, b.rows * heads * headDim);
  const lse = publicLse(new Float32Array(data, o.byteLength, b.rows * heads));
  for (const run of b.runs) {
    const at = run.start - before[run.sequence];
    outputs[run.sequence].out.set(
      o.subarray(run.row * heads * headDim, (run.row + run.length) * heads * headDim),
      at * heads * headDim,
    );
    outputs[run.sequence].lse.set(lse.subarray(run.row * heads, (run.row + run.length) * heads), at * heads);
  }
}

/** The largest magnitudes of each sequence's cached rows. */
function largestCached(rows: readonly CachedRows[], dtype: DType): Map<number, Cached> {
  const found = new Map<number, Cached>();
  const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  for (const { sequence, ranges, data } of rows) {
    const values = decode(data, dtype);
    const { tokens, k, v } = found.get(sequence) ?? NOTHING_CACHED;
    const half = values.length / 2;
    found.set(sequence, {
      tokens: tokens + count(ranges),
      k: Math.max(k, largest(values.subarray(0, half))),
      v: Math.max(v, largest(values.subarray(half))),
    });
  }
  return found;
}
