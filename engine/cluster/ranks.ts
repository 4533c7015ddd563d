/**
 * The ranks of a cluster: starts them, asks them, gives them jobs, replaces and ends them. Every wait for a rank passes
 * through here.
 */
import * as Comlink from "comlink";
import { InputError, RankError } from "../errors.ts";
import { deferred } from "../rank/deferred.ts";
import type { AttendOutcome, Opened, RankSetup } from "../rank/job.ts";
import { now } from "../trace/clock.ts";
import { Lookout } from "./lookout.ts";
import type { ClusterPlatform } from "./platform.ts";
import { slowness } from "./slowness.ts";
import { endRank, meshPorts, seconds, startRank, type WorkerRank } from "./worker-rank.ts";

/** Seconds from a fault to the error that names it, on a quiet machine. */
const DEFAULT_TIMEOUT = 5;
/**
 * The share of the timeout after which a message that doesn't come is looked into. The rest is for asking, and for
 * stopping the other ranks.
 */
const PATIENCE = 0.7;
/** The most seconds that a rank may take to open its device on a quiet machine. */
const OPEN_SECONDS = 120;

/** How a job is watched and cancelled. */
export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Seconds from a fault to the error that names it, at most. */
export interface Timeout {
  /** As the caller asked: the limit on a quiet machine. */
  readonly asked: number;
  /** As used: multiplied by how slow this machine was when the cluster started. */
  readonly used: number;
}

/** What each rank is started with, apart from its place. */
type Setup = Omit<RankSetup, "pulse" | "rank" | "size" | "ports" | "lock">;

/**
 * N ranks that do one piece of work at a time. `exclusive` rejects a second one, and any after a fault until `repair`
 * has ended. The next piece of work waits for what a failed or cancelled job still does, however long that takes: a
 * compiling pipeline can't be stopped.
 */
export class Ranks {
  readonly size: number;
  readonly timeout: Timeout;
  opened: readonly Opened[] = [];
  readonly #platform: ClusterPlatform;
  readonly #setup: Setup;
  readonly #slowness: number;
  readonly #lookout: Lookout;
  readonly #ranks: WorkerRank[] = [];
  /** Ranks that were replaced and aren't filled yet: a repair may fail halfway. */
  readonly #replaced = new Set<number>();
  #jobs = 0;
  #busy: string | undefined;
  /** Settles when the work that `#busy` names has ended. */
  #working: Promise<unknown> = Promise.resolve();
  #broken: Error | undefined;
  /** Settles when a failed job has stopped. */
  #settled: Promise<unknown> = Promise.resolve();
  #repairing: Promise<number[]> | undefined;
  #ended: Promise<void> | undefined;

  private constructor(platform: ClusterPlatform, size: number, setup: Setup, timeout = DEFAULT_TIMEOUT) {
    this.#platform = platform;
    this.#setup = setup;
    this.size = size;
    this.#slowness = slowness();
    this.timeout = { asked: timeout, used: timeout * this.#slowness };
    this.#lookout = new Lookout({
      size,
      silence: platform.silence * this.#slowness,
      patience: PATIENCE * this.timeout.used,
      ask: (rank, job) => this.ask(rank, (service) => service.progress(job)),
      begin: (job) => void this.tell((service) => service.go(job)),
      onFailed: (error) => this.fail(this.#broken ??= error),
    });
  }

  /**
   * Starts all ranks. Errors: NoAdapterError if WebGPU has no adapter; RankError; AbortError, once every worker has
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
   * Runs `work`, called `what`, unless other work is under way or a rank has failed. Errors: InputError, RankError,
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

  /** Asks one rank. Rejects if it fails before it answers. */
  ask<T>(rank: number, call: (service: WorkerRank["service"]) => Promise<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(disposed());
    const error = this.#lookout.errorOf(rank);
    if (error !== undefined) return Promise.reject(error);
    return this.#lookout.watch(rank, (fail) => {
      const answer = call(this.#ranks[rank].service);
      answer.catch(fail);
      return answer;
    });
  }

  /** Asks every rank. */
  askAll<T>(call: (service: WorkerRank["service"], rank: number) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#ranks.map((_, rank) => this.ask(rank, (service) => call(service, rank))));
  }

  /** Calls every living rank. If one fails meanwhile, `repair` replaces it and brings it up to date. */
  async tell(call: (service: WorkerRank["service"]) => Promise<unknown>): Promise<void> {
    await Promise.allSettled(this.#ranks.map((_, rank) => this.ask(rank, call)));
  }

  /** One rank's service, for a job that `run` begins and watches. */
  service(rank: number): WorkerRank["service"] {
    return this.#ranks[rank].service;
  }

  /** A job's number, and the origin of its spans. */
  newJob(): { id: number; origin: number } {
    return { id: this.#jobs++, origin: now() };
  }

  /**
   * Runs one job on every rank. At the first fault, or when `signal` fires, stops the other ranks and throws the reason.
   * `stopped` fires before that: don't give a rank its part afterwards. `undo` runs once all have stopped, before any
   * other work.
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
    let last = -1;
    const report = (done: number) => onProgress?.(last = done, hops);
    try {
      const outcomes = await this.#lookout.watchJob(id, report, (fail) => {
        signal?.addEventListener("abort", () => fail(signal.reason), { signal: stopped.signal });
        running = this.#ranks.map((_, rank) => begin(rank, stopped.signal));
        return Promise.all(running);
      });
      if (last !== hops) report(hops);
      return outcomes;
    } catch (error) {
      stopped.abort(error);
      this.#settled = this.#settle(id, running).then(undo);
      this.#settled.catch(() => {});
      throw error;
    } finally {
      stopped.abort();
    }
  }

  /** Resolves once no work is under way and nothing of a failed job is left. */
  async idle(): Promise<void> {
    while (this.#busy !== undefined) await this.#working;
    await this.#settled.catch(() => {});
  }

  /** Makes the running job fail. */
  fail(reason: unknown): void {
    this.#lookout.fail(reason);
  }

  /**
   * Replaces every rank that died, fell silent or lost its device. `refill` then brings the replacements up to date. No
   * other work begins before a repair has succeeded. Two calls at once are one. Resolves to the ranks replaced since
   * all were whole. Errors: InputError, RankError, and those of start.
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
        // A device may be lost, but its pulse not here yet.
        await Promise.allSettled(this.#ranks.map(async (_, rank) => {
          const why = await this.ask(rank, (service) => service.ill());
          if (why !== undefined) this.#lookout.fault(rank, why);
        }));
        await this.#replace(this.#lookout.failed);
        const replaced = [...this.#replaced].sort((a, b) => a - b);
        await this.#opened(replaced).catch((error: Error) => {
          for (const rank of replaced) this.#lookout.fault(rank, `its replacement did not open (${error.message})`);
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

  /** Ends every worker, however long that takes while pipelines compile. Work under way fails. */
  dispose(): Promise<void> {
    return this.#ended ??= (async () => {
      this.#lookout.close(new DOMException("the cluster was disposed", "AbortError"));
      const ends = this.#ranks.map((
        rank,
        i,
      ) => (this.#lookout.failed.includes(i) ? this.#retire(rank) : endRank(rank)));
      await this.#lookout.hold(Promise.all(ends));
    })();
  }

  #requireFree(what: string): void {
    if (this.#busy !== undefined) {
      throw new InputError(`${what}: ${this.#busy} is under way; expected one thing at a time: await it first`);
    }
  }

  /** Runs `work` as the one piece of work under way. */
  async #occupied<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#busy = what;
    const working = work().finally(() => (this.#busy = undefined));
    this.#working = working.catch(() => {});
    return await working;
  }

  #requireWhole(): void {
    if (this.#ended !== undefined) throw disposed();
    if (this.#repairing !== undefined) return;
    const [first] = this.#lookout.failed;
    if (first !== undefined) this.#broken ??= this.#lookout.errorOf(first);
    if (this.#broken !== undefined) throw this.#broken;
  }

  /** Waits until a failed job has stopped. */
  async #stopped(signal?: AbortSignal): Promise<void> {
    await unlessAborted(signal, this.#settled.catch(() => {}));
  }

  /** Stops the ranks; resolves once each that lives has stopped. */
  async #settle(id: number, running: readonly Promise<AttendOutcome>[]): Promise<void> {
    await this.tell((service) => service.cancel(id, "another rank failed, or the experiment was cancelled"));
    await Promise.allSettled(
      running.map((part, rank) =>
        this.#lookout.failed.includes(rank) ? undefined : this.#lookout.watch(rank, () => part)
      ),
    );
  }

  #start(rank: number, ports: RankSetup["ports"]): void {
    const started = startRank(
      this.#platform,
      { ...this.#setup, rank, size: this.size, ports },
      (pulse) => this.#lookout.heard(pulse),
    );
    this.#ranks[rank] = started;
    this.#lookout.replace(rank);
    started.died.then((how) => this.#ranks[rank] === started && this.#lookout.fault(rank, how));
  }

  /** Resolves once ranks have opened their devices. */
  #opened(ranks: readonly number[] = [...this.#ranks.keys()]): Promise<Opened[]> {
    const limit = OPEN_SECONDS * this.#slowness;
    return Promise.all(ranks.map((rank) => {
      const late = new RankError(rank, undefined, "its GPU device", `did not open within ${limit.toFixed(0)} s`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      return this.#lookout.watch(rank, (fail) => {
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

  /** Lets a failed rank go: it ends when it can. */
  async #retire(rank: WorkerRank): Promise<void> {
    const ended = endRank(rank);
    ended.catch(() => {});
    // If only its device was lost, it ends soon. If it is taken for dead, it may never end.
    if (!(await Promise.race([ended.then(() => true, () => true), seconds(this.timeout.asked).then(() => false)]))) {
      rank.worker.giveUp();
    }
  }
}

/** The result of `work`, or the reason of `signal` if that comes first. */
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
