/**
 * A conversation: a KV cache that stays on the ranks. Prefill and decode steps grow it, and each step happens as a whole
 * or not at all.
 */
import * as Comlink from "comlink";
import { InputError } from "../errors.ts";
import { dealDecode, dealPrefill } from "../layout/deal.ts";
import { isLocal, maskFrom } from "../layout/mask.ts";
import { PAGE } from "../layout/pages.ts";
import { type Block, block, count, type Dealing, type Range } from "../layout/shards.ts";
import type { Choice } from "../policy/index.ts";
import type { StepJob } from "../rank/job.ts";
import { chunkBounds, type Shards } from "../ring/route.ts";
import { valueHead } from "../tensor/heads.ts";
import { now } from "../trace/clock.ts";
import { Ledger } from "./ledger.ts";
import { validateRun } from "./link.ts";
import { chooseVariant } from "./rates.ts";
import type { Cached } from "./ranges.ts";
import { reportOf, type Shared } from "./report.ts";
import { shapeOf } from "./shape.ts";
import { packSnapshot, type Snapshot, snapshotBytes, unpackSnapshot } from "./snapshot.ts";
import { appendsOf, outputsOf, queriesOf, type StepBatch } from "./step-rows.ts";
import type {
  SessionFace,
  SessionOptions,
  SessionRows,
  StepOptions,
  StepReport,
  StepResult,
  Variant,
} from "./types.ts";
import { validateRows, validateSession, validateStep } from "./validate.ts";

/** Tokens that a rank's cache holds by default. */
const DEFAULT_CAPACITY = 16_384;

type Optional = "scale" | "rates" | "v" | "sinks";
type Options = Required<Omit<SessionOptions, Optional>> & Pick<SessionOptions, Optional>;

/** A step, dealt to the ranks. */
interface Dealt {
  readonly mode: StepReport["mode"];
  readonly variant: Variant;
  readonly choice?: Choice;
  /** `ranges[rank][i]`: positions of sequence i whose rows go to that rank. */
  readonly ranges: Range[][][];
  /** Each rank's queries, which count sequences by their places in the batch. */
  readonly queries: readonly Block[];
}

/**
 * A session. It does one step at a time. A step that fails or is cancelled leaves every rank's cache as it was. All
 * cached rows are also kept here, as bytes: `cluster.repair()` can replace a rank that died without loss.
 */
export class Session implements SessionFace {
  readonly options: Options;
  readonly #cluster: Shared;
  readonly #id: number;
  #ledger: Ledger;
  /** Whether the cluster's planned fault has struck: the same step, tried again after a repair, must go through. */
  #struck = false;
  /** Ranks whose cache differs from the ledger: replaced ones, and all of them while a snapshot is restored. */
  readonly #stale = new Set<number>();
  /** Aborts when the session is disposed. */
  readonly #end = new AbortController();
  #closed: Promise<void> | undefined;

  private constructor(cluster: Shared, id: number, options: Options) {
    this.#cluster = cluster;
    this.#id = id;
    this.options = options;
    this.#ledger = new Ledger(cluster.size, options.capacity);
  }

  /** Opens the caches on a cluster's ranks; called by `Cluster.session`. */
  static async open(cluster: Shared, id: number, given: SessionOptions): Promise<Session> {
    validateSession(given);
    const options: Options = {
      ...given,
      valueDim: valueHead(given).valueDim,
      mask: maskFrom(given),
      dealing: given.dealing ?? "head-tail",
      wireDtype: given.wireDtype ?? "f32",
      capacity: given.capacity ?? DEFAULT_CAPACITY,
      variant: given.variant ?? "auto",
    };
    const session = new Session(cluster, id, options);
    try {
      await Promise.all(session.#ledger.ranks.map((rank) => session.#openCache(rank)));
    } catch (error) {
      await cluster.ranks.tell((service) => service.closeCache(id));
      throw error;
    }
    return session;
  }

  /** Tokens that each rank can hold (whole pages), and pages in use on each. */
  get capacity(): SessionFace["capacity"] {
    const { capacity: pages, used: pagesUsed } = this.#ledger.pages;
    return { tokensPerRank: pages * PAGE, pageTokens: PAGE, pages, pagesUsed };
  }

  /** Every sequence's tokens on every rank. They differ by at most 1 (see deal.ts). */
  get tokens(): SessionFace["tokens"] {
    return this.#ledger.tokens;
  }

  get disposed(): boolean {
    return this.#closed !== undefined;
  }

  /** Steps done. */
  get steps(): number {
    return this.#ledger.steps;
  }

  /** Appends rows to some sequences, new ones included, in one fused ring pass; O and LSE of the new rows. */
  async prefill(batch: readonly SessionRows[], options: StepOptions = {}): Promise<StepResult> {
    validateStep(options, this.#cluster.size, this.#cluster.backend);
    return await this.#exclusive("prefill", async () => {
      const { lengths, cached } = this.#checked(batch);
      const ledger = this.#ledger;
      const dealt = batch.map(({ sequence }, i) =>
        dealPrefill(lengths[i], ledger.length(sequence), ledger.held(sequence), this.options.dealing)
      );
      const ranges = ledger.ranks.map((rank) => dealt.map((d) => d[rank]));
      const padding = batch.map((_, i) => Math.max(...ranges.map((own) => count(own[i]))));
      const queries = ranges.map((own) => block(own, padding));
      const sequences = batch.map(({ sequence }, i) => ({ new: lengths[i], cached: ledger.length(sequence) }));
      const wanted = options.variant ?? this.options.variant;
      const choice = wanted === "auto" ? chooseVariant(this.#cluster, { ...this.options, sequences }) : undefined;
      const variant = choice?.variant ?? (wanted as Variant);
      return await this.#step(batch, { mode: "prefill", variant, choice, ranges, queries }, cached, options);
    }, options.signal);
  }

  /** Appends one row to each of some sequences that have rows already: batched ring pass-Q decode (Algorithm 4). */
  async decode(batch: readonly SessionRows[], options: Omit<StepOptions, "variant"> = {}): Promise<StepResult> {
    validateStep(options, this.#cluster.size, this.#cluster.backend);
    return await this.#exclusive("decode", async () => {
      const { lengths, cached } = this.#checked(batch);
      const ledger = this.#ledger;
      batch.forEach(({ sequence }, i) => {
        if (lengths[i] !== 1) {
          throw new InputError(
            `decode: sequence ${sequence}: found ${lengths[i]} rows, expected 1; prefill appends more`,
          );
        }
        if (ledger.length(sequence) === 0) {
          throw new InputError(`decode: sequence ${sequence}: found no cached row, expected some; prefill it first`);
        }
      });
      const owners = dealDecode(batch.map(({ sequence }) => ledger.held(sequence)), ledger.steps);
      const ranges = ledger.ranks.map((rank) =>
        batch.map(({ sequence }, i): Range[] => {
          const at = ledger.length(sequence);
          return owners[i] === rank ? [{ start: at, end: at + 1 }] : [];
        })
      );
      // Every rank's queries are padded to the same number: in all, a multiple of N.
      const rows = Math.max(...ranges.map((own) => own.reduce((sum, r) => sum + count(r), 0)));
      const queries = ranges.map((own): Block => ({ runs: block(own).runs, rows }));
      return await this.#step(batch, { mode: "decode", variant: "pass-q", ranges, queries }, cached, options);
    }, options.signal);
  }

  /** Forgets a sequence and frees its pages. */
  async drop(sequence: number): Promise<void> {
    await this.#exclusive("drop", async () => {
      const held = this.tokens.map((t) => t.sequence);
      if (!held.includes(sequence)) {
        throw new InputError(`drop: found sequence ${sequence}, expected one of ${held.join(", ") || "none"}`);
      }
      this.#ledger.drop(sequence);
      await this.#cluster.ranks.tell((service) => service.drop(this.#id, sequence));
    });
  }

  /** All that the ranks have cached, read from them, as bytes. Errors: RankError. */
  async snapshot(): Promise<Uint8Array> {
    return await this.#exclusive("snapshot", async () => {
      const ranks = await this.#cluster.ranks.askAll((service) => service.copyCache(this.#id));
      return await packSnapshot({ ...this.#identity(), steps: this.steps, ranks });
    });
  }

  /**
   * Puts the cache back to a snapshot of a session of the same shape and ranks. Errors: InputError and LimitError
   * before anything changes; RankError, after which the session is what it was.
   */
  async restore(bytes: Uint8Array): Promise<void> {
    const own = snapshotBytes(bytes);
    await this.#exclusive("restore", async () => {
      const before = this.#ledger;
      this.#ledger = Ledger.of(await unpackSnapshot(own, this.#identity()), this.options.capacity);
      try {
        await this.refill(before.ranks);
      } catch (error) {
        this.#ledger = before;
        for (const rank of before.ranks) this.#stale.add(rank);
        throw error;
      }
    });
  }

  /** Frees the ranks' memory. A step under way is cancelled. */
  dispose(): Promise<void> {
    return this.#closed ??= (async () => {
      this.#end.abort(new DOMException("the session was disposed", "AbortError"));
      await this.#cluster.ranks.idle();
      this.#ledger.clear();
      await this.#cluster.ranks.tell((service) => service.closeCache(this.#id));
    })();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Fills the caches of `ranks`, and of all that are stale, from the ledger. `Cluster.repair` calls it too. */
  async refill(ranks: readonly number[] = []): Promise<void> {
    if (this.disposed) return;
    for (const rank of ranks) this.#stale.add(rank);
    for (const rank of [...this.#stale]) {
      await this.#openCache(rank);
      await this.#cluster.ranks.ask(rank, (service) => service.fillCache(this.#id, this.#ledger.log(rank)));
      this.#stale.delete(rank);
    }
  }

  /** Runs one thing at a time on the cluster, on caches that agree with the ledger. */
  async #exclusive<T>(what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#requireOpen();
    return await this.#cluster.ranks.exclusive(what, async () => {
      this.#requireOpen();
      await this.refill();
      return await work();
    }, this.#stop(signal));
  }

  async #step(
    rows: readonly SessionRows[],
    { mode, variant, choice, ranges, queries }: Dealt,
    cached: readonly Cached[],
    options: StepOptions,
  ): Promise<StepResult> {
    const { wireDtype, heads, kvHeads, headDim, valueDim, dealing, sinks } = this.options;
    const { ranks, size, options: { link } } = this.#cluster;
    const shape = { ...shapeOf(this.options, variant, wireDtype), kv: wireDtype };
    const sequences = rows.map(({ sequence }) => sequence);
    const before = sequences.map((sequence) => this.#ledger.length(sequence));
    const perSequence = rows.map(({ sequence, q }, i) => ({
      sequence,
      new: q.length / (heads * headDim),
      cached: before[i],
    }));
    const fresh = perSequence.reduce((sum, s) => sum + s.new, 0);
    const old = perSequence.reduce((sum, s) => sum + s.cached, 0);
    validateRun({ ...this.options, variant }, { new: fresh, cached: old }, size, link);
    this.#ledger.begin(sequences, ranges);
    const batch: StepBatch = { rows, before, heads, kvHeads, headDim, valueDim };
    const appends = ranges.map((own) => appendsOf(own, batch, wireDtype));
    const lengths = sequences.map((sequence) => Math.max(...this.#ledger.held(sequence)));
    const shards = isLocal(shape.mask)
      ? shardsOf(queries.map((own) => named(own, sequences)), this.#ledger, perSequence, lengths, dealing)
      : undefined;
    const { id, origin } = ranks.newJob();
    const step = this.steps;
    const planned = this.#plannedFault(step);
    const fault = options.fault ?? planned;
    let done = false;
    try {
      const outcomes = await ranks.run(id, { ...options, signal: this.#stop(options.signal) }, (rank) => {
        const q = queriesOf(rank, queries[rank], batch, shape.q);
        const copies = appends[rank].map((own) => ({ ...own, data: own.data.slice(0) }));
        const session = this.#id;
        const job: StepJob = {
          id,
          origin,
          variant,
          shape,
          q,
          shards,
          sinks,
          session,
          appends: copies,
          sequences,
          lengths,
          fault,
        };
        return ranks.service(rank).step(Comlink.transfer(job, [q.data, ...copies.map((c) => c.data)]));
      }, () => ranks.tell((service) => service.settle(this.#id, false)));
      const total = now() - origin;
      const outputs = outputsOf(outcomes.map(({ data }) => data), queries, batch);
      this.#ledger.commit(appends, sequences.map((sequence, i) => [sequence, cached[i]] as const));
      done = true;
      await ranks.tell((service) => service.settle(this.#id, true));
      if (mode === "prefill") this.#cluster.rates.add(outcomes.flatMap((o) => o.spans), size);
      const facts = reportOf(this.#cluster, outcomes, {
        variant,
        choice,
        wireDtype,
        sequences: perSequence,
        shape,
        dealing,
        sinks,
        total,
      });
      const missRate = fresh / (fresh + old);
      const paddingBytes = facts.perRank.reduce((sum, r) => sum + r.paddingBytes, 0);
      return {
        outputs,
        report: { ...facts, step, mode, batch: perSequence, missRate, paddingBytes, tokens: this.tokens },
      };
    } catch (error) {
      if (!done) this.#ledger.rollback();
      throw error;
    }
  }

  /** The cluster's planned fault, if this is the step that it strikes. It strikes once. */
  #plannedFault(step: number): StepOptions["fault"] {
    const { fault } = this.#cluster.options;
    if (fault?.step !== step || this.#struck) return undefined;
    this.#struck = true;
    return fault;
  }

  /** Fires at the caller's signal, and at the end of this session. */
  #stop(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#end.signal : AbortSignal.any([signal, this.#end.signal]);
  }

  /** Checks a batch. Returns the rows of each sequence, and what each will have cached after them. */
  #checked(batch: readonly SessionRows[]): { lengths: number[]; cached: Cached[] } {
    if (!Array.isArray(batch) || batch.length === 0) {
      throw new InputError("batch: found no sequence, expected an array of at least one");
    }
    const seen = new Set<number>();
    const checked = batch.map((rows) => {
      const found = validateRows(rows, this.options, this.#ledger.cached(rows?.sequence));
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

  async #openCache(rank: number): Promise<void> {
    const { kvHeads, headDim, valueDim, v, wireDtype: dtype } = this.options;
    const widths = [kvHeads * headDim, ...(v === undefined ? [kvHeads * valueDim] : [])];
    const setup = { session: this.#id, pages: this.#ledger.pages.capacity, widths, dtype };
    await this.#cluster.ranks.ask(rank, (service) => service.openCache(setup));
  }

  #identity(): Omit<Snapshot, "steps" | "ranks"> {
    const { heads, kvHeads, headDim, valueDim, v, wireDtype } = this.options;
    return { size: this.#cluster.size, heads, kvHeads, headDim, valueDim, valuesInKeys: v !== undefined, wireDtype };
  }
}

/** A block that counts sequences by their places in the batch, with their own numbers. */
function named(block: Block, sequences: readonly number[]): Block {
  return { ...block, runs: block.runs.map((run) => ({ ...run, sequence: sequences[run.sequence] })) };
}

/** Every rank's rows of a step's sequences. `lengths[i]`: the rows to which sequence i's keys are padded. */
function shardsOf(
  queries: readonly Block[],
  ledger: Ledger,
  batch: StepReport["batch"],
  lengths: readonly number[],
  dealing: Dealing,
): Shards {
  const sequences = batch.map(({ sequence }) => sequence);
  return {
    queries,
    keys: ledger.ranks.map((rank) => named(block(sequences.map((s) => ledger.ranges(rank, s)), lengths), sequences)),
    bounds: new Map(batch.map((one) => [one.sequence, chunkBounds(one, ledger.ranks.length, dealing)])),
  };
}
