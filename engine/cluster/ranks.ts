/**
 * The ranks of a cluster: starts them, asks them, gives them jobs, watches, replaces and ends them. Every wait for a
 * rank passes through here.
 */
import * as Comlink from "comlink";
import { InputError, RankError } from "../errors.ts";
import type { AttendOutcome, Opened, Progress, Pulse, RankSetup } from "../rank/job.ts";
import { deferred } from "../rank/deferred.ts";
import { now } from "../trace/clock.ts";
import { convict, Monitor } from "./monitor.ts";
import type { ClusterPlatform } from "./platform.ts";
import { slowness } from "./slowness.ts";
import { endRank, meshPorts, seconds, startRank, type WorkerRank } from "./worker-rank.ts";

/** Seconds from a fault to the error that names it, on a quiet machine. */
const DEFAULT_TIMEOUT = 5;
/**
 * The part of it after which a message that does not come is looked into; the rest is for asking, and for stopping the
 * other ranks.
 */
const PATIENCE = 0.7;
/** Milliseconds between looks at the ranks' signs of life. */
const LOOK = 200;
/**
 * A job's error comes this many milliseconds after a worker's end, so that a neighbour can report what it was waiting
 * for.
 */
const DEATH_NOTICE = 300;

/** The most seconds a rank may take to open its device on a quiet machine. */
const OPEN_SECONDS = 120;

/** How a job is watched and cancelled. */
export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** The limit of a fault's naming, in seconds. */
export interface Timeout {
  /** What was asked for: the limit on a quiet machine. */
  readonly asked: number;
  /** What is used: as many times as long as this machine was slow when the cluster started. */
  readonly used: number;
}

/** What each rank is started with, but for its place. */
type Setup = Omit<RankSetup, "pulse" | "rank" | "size" | "ports" | "lock">;

/** Something that waits for one rank, or for all (a job). */
interface Waiting {
  readonly rank: number | undefined;
  readonly fail: (reason: unknown) => void;
}

/**
 * N ranks. One piece of work at a time: `exclusive` refuses a second, and any after a fault until `repair` has ended.
 * What a failed or cancelled job still does is awaited before the next begins, however long that takes (a pipeline that
 * compiles cannot be stopped).
 */
export class Ranks {
  readonly size: number;
  readonly timeout: Timeout;
  opened: readonly Opened[] = [];
  readonly #platform: ClusterPlatform;
  readonly #setup: Setup;
  readonly #slowness: number;
  readonly #monitor: Monitor;
  readonly #ranks: WorkerRank[] = [];
  /** Ranks that can do nothing any more, and why. */
  readonly #faults = new Map<number, string>();
  /** Ranks that were replaced and are not filled yet: a repair may fail in the middle. */
  readonly #replaced = new Set<number>();
  readonly #waiting = new Set<Waiting>();
  #look: ReturnType<typeof setInterval> | undefined;
  #looking = 0;
  #job: { readonly id: number; asking: boolean; begun: boolean; readonly tell: () => void } | undefined;
  #jobs = 0;
  #busy: string | undefined;
  /** Settles when what `#busy` names has ended. */
  #working: Promise<unknown> = Promise.resolve();
  #broken: Error | undefined;
  /** What a failed job still does. */
  #settled: Promise<unknown> = Promise.resolve();
  #repairing: Promise<number[]> | undefined;
  #ended: Promise<void> | undefined;

  private constructor(platform: ClusterPlatform, size: number, setup: Setup, timeout = DEFAULT_TIMEOUT) {
    this.#platform = platform;
    this.#setup = setup;
    this.size = size;
    this.#slowness = slowness();
    this.timeout = { asked: timeout, used: timeout * this.#slowness };
    this.#monitor = new Monitor(size);
  }

  /**
   * Starts all ranks. Errors: NoAdapterError where WebGPU has no adapter; RankError; AbortError, once every worker has
   * ended.
   */
  static async start(
    platform: ClusterPlatform,
    size: number,
    setup: Setup,
    timeout: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Ranks> {
    signal?.throwIfAborted();
    const ranks = new Ranks(platform, size, setup, timeout);
    meshPorts(size).forEach((ports, rank) => ranks.#start(rank, ports));
    try {
      ranks.opened = await unlessAborted(signal, ranks.#opened());
      signal?.throwIfAborted();
      return ranks;
    } catch (error) {
      await ranks.dispose();
      throw error;
    }
  }

  /**
   * Runs `work` unless other work is under way or a rank has failed; `what` is its name. Errors: InputError, RankError,
   * AbortError.
   */
  async exclusive<T>(what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#requireWhole();
    this.#requireFree(what);
    return await this.#occupied(what, async () => {
      await this.#stopped(signal);
      this.#requireWhole();
      return await work();
    });
  }

  /** Asks one rank; rejects when it fails before it has answered. */
  ask<T>(rank: number, call: (service: WorkerRank["service"]) => Promise<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(disposed());
    const how = this.#faults.get(rank);
    if (how !== undefined) return Promise.reject(this.#monitor.failed(rank, how));
    return this.#watched(rank, (fail) => {
      const answer = call(this.#ranks[rank].service);
      answer.catch(fail);
      return answer;
    });
  }

  /** Asks every rank. */
  askAll<T>(call: (service: WorkerRank["service"], rank: number) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#ranks.map((_, rank) => this.ask(rank, (service) => call(service, rank))));
  }

  /** Tells every living rank. If one fails meanwhile, `repair` replaces it and brings it up to date. */
  async tell(call: (service: WorkerRank["service"]) => Promise<unknown>): Promise<void> {
    await Promise.allSettled(this.#ranks.map((_, rank) => this.ask(rank, call)));
  }

  /** One rank, for a job that `run` begins and watches. */
  service(rank: number): WorkerRank["service"] {
    return this.#ranks[rank].service;
  }

  /** A job's number, and the origin of its spans. */
  newJob(): { id: number; origin: number } {
    return { id: this.#jobs++, origin: now() };
  }

  /**
   * Runs one job on every rank. At the first fault, or when `signal` fires, it tells the others to stop and throws the
   * reason. `stopped` fires before that: don't give a rank its part afterwards. `undo` runs when all have stopped,
   * before any other work.
   */
  async run(
    id: number,
    { signal, onProgress }: JobOptions,
    begin: (rank: number, stopped: AbortSignal) => Promise<AttendOutcome>,
    undo: () => Promise<void> = async () => {},
  ): Promise<AttendOutcome[]> {
    signal?.throwIfAborted();
    const stopped = new AbortController();
    let running: Promise<AttendOutcome>[] = [];
    const hops = this.size * this.size;
    let told = -1;
    const tell = () => {
      const done = this.#monitor.done(id);
      if (done !== told) onProgress?.(told = done, hops);
    };
    this.#job = { id, asking: false, begun: false, tell };
    try {
      const outcomes = await this.#watched(undefined, (fail) => {
        signal?.addEventListener("abort", () => fail(signal.reason), { signal: stopped.signal });
        running = this.#ranks.map((_, rank) => begin(rank, stopped.signal));
        return Promise.all(running);
      });
      if (told !== hops) onProgress?.(hops, hops);
      return outcomes;
    } catch (error) {
      stopped.abort(error);
      this.#settled = this.#settle(id, running).then(undo);
      this.#settled.catch(() => {});
      throw error;
    } finally {
      stopped.abort();
      this.#job = undefined;
    }
  }

  /** Resolves when no work is under way and nothing of a failed job is left. */
  async idle(): Promise<void> {
    while (this.#busy !== undefined) await this.#working;
    await this.#settled.catch(() => {});
  }

  /** Makes the running job fail. */
  fail(reason: unknown): void {
    for (const { rank, fail } of [...this.#waiting]) if (rank === undefined) fail(reason);
  }

  /**
   * Replaces every rank that died, fell silent or lost its device; `refill` then brings the replacements up to date. No
   * other work begins before it has ended well. Two calls at once are one. Resolves to the ranks replaced since all
   * were whole. Errors: InputError, RankError, and as start's.
   */
  repair(refill: (replaced: readonly number[]) => Promise<void>): Promise<number[]> {
    return this.#repairing ??= this.#repair(refill).finally(() => (this.#repairing = undefined));
  }

  async #repair(refill: (replaced: readonly number[]) => Promise<void>): Promise<number[]> {
    if (this.#ended !== undefined) throw disposed();
    this.#requireFree("repair");
    return await this.#occupied("repair", async () => {
      try {
        await this.#stopped();
        // A device may have been lost without a pulse that says so yet.
        await Promise.allSettled(this.#ranks.map(async (_, rank) => {
          const why = await this.ask(rank, (service) => service.ill());
          if (why !== undefined) this.#faulted(rank, why);
        }));
        await this.#replace([...this.#faults.keys()]);
        const replaced = [...this.#replaced].sort((a, b) => a - b);
        await this.#opened(replaced).catch((error: Error) => {
          for (const rank of replaced) this.#faulted(rank, `its replacement did not open (${error.message})`);
          throw error;
        });
        await refill(replaced);
        this.#replaced.clear();
        this.#broken = undefined;
        return replaced;
      } catch (error) {
        this.#broken ??= error as Error;
        throw error;
      }
    });
  }

  /** Ends every worker, however long that takes while pipelines compile. What runs fails. */
  dispose(): Promise<void> {
    return this.#ended ??= (async () => {
      const reason = new DOMException("the cluster was disposed", "AbortError");
      for (const { fail } of [...this.#waiting]) fail(reason);
      await this.#hold(
        Promise.all(this.#ranks.map((rank, i) => (this.#faults.has(i) ? this.#retire(rank) : endRank(rank)))),
      );
    })();
  }

  #requireFree(what: string): void {
    if (this.#busy !== undefined) {
      throw new InputError(`${what}: ${this.#busy} is under way; expected one thing at a time: await it first`);
    }
  }

  /** Runs `work` as the one thing that is under way. */
  async #occupied<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#busy = what;
    const working = work().finally(() => (this.#busy = undefined));
    this.#working = working.catch(() => {});
    return await working;
  }

  #requireWhole(): void {
    if (this.#ended !== undefined) throw disposed();
    if (this.#repairing === undefined && this.#faults.size > 0) this.#broken ??= this.#error();
    if (this.#repairing === undefined && this.#broken !== undefined) throw this.#broken;
  }

  /** The error of the rank that failed first. */
  #error(): RankError {
    const [[rank, how]] = this.#faults;
    return this.#monitor.failed(rank, how);
  }

  /** Awaits what a failed job still does. */
  async #stopped(signal?: AbortSignal): Promise<void> {
    await unlessAborted(signal, this.#settled.catch(() => {}));
  }

  /** Tells the ranks to stop, and resolves when each that lives has. */
  async #settle(id: number, running: readonly Promise<AttendOutcome>[]): Promise<void> {
    await this.tell((service) => service.cancel(id, "another rank failed, or the experiment was cancelled"));
    await Promise.allSettled(
      running.map((part, rank) => (this.#faults.has(rank) ? undefined : this.#watched(rank, () => part))),
    );
  }

  #start(rank: number, ports: RankSetup["ports"]): void {
    const started = startRank(
      this.#platform,
      { ...this.#setup, rank, size: this.size, ports },
      (pulse) => this.#heard(pulse),
    );
    this.#ranks[rank] = started;
    this.#monitor.replace(rank);
    started.died.then((how) => this.#ranks[rank] === started && this.#faulted(rank, how));
  }

  /** Resolves when ranks have opened their devices. */
  #opened(ranks: readonly number[] = [...this.#ranks.keys()]): Promise<Opened[]> {
    const limit = OPEN_SECONDS * this.#slowness;
    return Promise.all(ranks.map((rank) => {
      const late = new RankError(rank, undefined, "its GPU device", `did not open within ${limit.toFixed(0)} s`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      return this.#watched(rank, (fail) => {
        timer = setTimeout(() => fail(late), limit * 1000);
        return this.#ranks[rank].opened;
      }).finally(() => clearTimeout(timer));
    }));
  }

  async #replace(ill: readonly number[]): Promise<void> {
    if (ill.length === 0) return;
    for (const rank of ill) void this.#retire(this.#ranks[rank]);
    const ports = meshPorts(this.size);
    const living = [...this.#ranks.keys()].filter((rank) => !ill.includes(rank));
    for (const rank of ill) {
      this.#faults.delete(rank);
      this.#replaced.add(rank);
      this.#start(rank, ports[rank]);
    }
    this.#broken ??= new RankError(ill[0], undefined, undefined, "it was being replaced");
    await Promise.all(living.flatMap((rank) =>
      ill.map((other) => {
        const port = ports[rank][other]!;
        return this.ask(rank, (service) => service.connect(other, Comlink.transfer(port, [port])));
      })
    ));
  }

  /** Lets go of a rank that failed: it ends when it can. */
  async #retire(rank: WorkerRank): Promise<void> {
    const ended = endRank(rank);
    ended.catch(() => {});
    // One that lives (its device was lost) ends soon; one that is given up for dead may never.
    if (!(await Promise.race([ended.then(() => true, () => true), seconds(this.timeout.asked).then(() => false)]))) {
      rank.worker.giveUp();
    }
  }

  /** Waits for `work` and, as long as nobody else has failed it, watches the ranks that it waits for. */
  async #watched<T>(rank: number | undefined, work: (fail: (reason: unknown) => void) => Promise<T>): Promise<T> {
    const { promise: failed, reject: fail } = deferred<never>();
    const entry: Waiting = { rank, fail };
    this.#waiting.add(entry);
    try {
      return await this.#hold(Promise.race([work(fail), failed]));
    } finally {
      this.#waiting.delete(entry);
    }
  }

  /** Looks at the ranks, and keeps the process alive, until `work` has ended. */
  async #hold<T>(work: Promise<T>): Promise<T> {
    if (this.#looking++ === 0) {
      this.#monitor.listen();
      this.#look = setInterval(() => this.#lookAround(), LOOK);
    }
    try {
      return await work;
    } finally {
      if (--this.#looking === 0) clearInterval(this.#look);
    }
  }

  #lookAround(): void {
    for (const { rank, seconds } of this.#monitor.silent(this.#platform.silence * this.#slowness)) {
      if (!this.#faults.has(rank)) this.#faulted(rank, `no sign of life for ${seconds.toFixed(1)} s`);
    }
    const job = this.#job;
    job?.tell();
    if (job === undefined || job.asking) return;
    const patience = PATIENCE * this.timeout.used;
    const [suspicion] = this.#monitor.suspicions(job.id, patience);
    if (suspicion === undefined) return;
    job.asking = true;
    const ask = (rank: number): Promise<Progress> => this.ask(rank, (service) => service.progress(job.id));
    convict(suspicion, patience, ask).then((error) => {
      if (error !== undefined && this.#job === job) this.fail(error);
    }, () => {}).finally(() => (job.asking = false));
  }

  #heard(pulse: Pulse): void {
    if (this.#ended !== undefined) return;
    this.#monitor.put(pulse);
    if (pulse.lost !== undefined) this.#faulted(pulse.rank, pulse.lost);
    const job = this.#job;
    if (job === undefined || job.begun || !this.#monitor.compiled(job.id)) return;
    job.begun = true;
    void this.tell((service) => service.go(job.id));
  }

  #faulted(rank: number, how: string): void {
    if (this.#ended !== undefined || this.#faults.has(rank)) return;
    this.#faults.set(rank, how);
    for (const waiting of [...this.#waiting]) if (waiting.rank === rank) waiting.fail(this.#monitor.failed(rank, how));
    const job = this.#job;
    if (job !== undefined) {
      setTimeout(() => this.#job === job && this.fail(this.#broken ??= this.#monitor.failed(rank, how)), DEATH_NOTICE);
    }
  }
}

/** What `work` gives, or the reason of `signal` where that comes first. */
async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  const { promise, reject } = deferred<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function disposed(): InputError {
  return new InputError("cluster: it was disposed, expected a running one: start another");
}
