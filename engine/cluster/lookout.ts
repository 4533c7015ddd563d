/** Watches the ranks while anything waits for them: notices one that dies or falls silent, and a message that is lost. */
import type { RankError } from "../errors.ts";
import { deferred } from "../rank/deferred.ts";
import type { JobProgress, Pulse } from "../rank/job.ts";
import { convict, Monitor } from "./monitor.ts";

/** Milliseconds between looks at the ranks' signs of life. */
const LOOK = 200;
/** A job's error comes this many milliseconds after a worker's end: a neighbour can first report what it awaited. */
const DEATH_NOTICE = 300;

/** Something that waits for one rank, or for all (a job). */
interface Waiting {
  readonly rank: number | undefined;
  readonly fail: (reason: unknown) => void;
}

/** The job that the ranks run. */
interface WatchedJob {
  readonly id: number;
  /** Whether a suspicion is being looked into. */
  asking: boolean;
  /** Whether the ranks have leave to begin. */
  begun: boolean;
  /** Reports its progress. */
  readonly report: () => void;
}

/** What a lookout needs of its cluster. */
export interface LookoutParts {
  readonly size: number;
  /** Seconds of silence that count as a rank's end. */
  readonly silence: number;
  /** Seconds after which a message that doesn't come is looked into. */
  readonly patience: number;
  readonly ask: (rank: number, job: number) => Promise<JobProgress>;
  /** Gives the ranks leave to begin a job. */
  readonly begin: (job: number) => void;
  /** Called with the error of a rank that failed during the running job, a moment after its end. */
  readonly onFailed: (error: RankError) => void;
}

/** All ranks under watch. */
export class Lookout {
  readonly #parts: LookoutParts;
  readonly #monitor: Monitor;
  /** Ranks that can't work any more, and why. */
  readonly #faults = new Map<number, string>();
  readonly #waiting = new Set<Waiting>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking = 0;
  #job: WatchedJob | undefined;
  #closed = false;

  constructor(parts: LookoutParts) {
    this.#parts = parts;
    this.#monitor = new Monitor(parts.size);
  }

  /** Ranks that failed, in the order of their failures. */
  get failed(): readonly number[] {
    return [...this.#faults.keys()];
  }

  /** The error of a rank that failed; undefined for one that lives. */
  errorOf(rank: number): RankError | undefined {
    const how = this.#faults.get(rank);
    return how === undefined ? undefined : this.#monitor.failed(rank, how);
  }

  /** Notes that a rank can't work any more: fails what waits for it and, a moment later, the running job. */
  fault(rank: number, how: string): void {
    if (this.#closed || this.#faults.has(rank)) return;
    this.#faults.set(rank, how);
    const error = () => this.#monitor.failed(rank, how);
    for (const waiting of [...this.#waiting]) if (waiting.rank === rank) waiting.fail(error());
    const job = this.#job;
    if (job !== undefined) setTimeout(() => this.#job === job && this.#parts.onFailed(error()), DEATH_NOTICE);
  }

  /** Takes a rank's sign of life. */
  heard(pulse: Pulse): void {
    if (this.#closed) return;
    this.#monitor.put(pulse);
    if (pulse.lost !== undefined) this.fault(pulse.rank, pulse.lost);
    const job = this.#job;
    if (job === undefined || job.begun || !this.#monitor.compiled(job.id)) return;
    job.begun = true;
    this.#parts.begin(job.id);
  }

  /** Forgets a rank's past: another takes its place. */
  replace(rank: number): void {
    this.#faults.delete(rank);
    this.#monitor.replace(rank);
  }

  /** Makes the running job fail. */
  fail(reason: unknown): void {
    for (const { rank, fail } of [...this.#waiting]) if (rank === undefined) fail(reason);
  }

  /** Fails everything that waits, and takes no further sign of life. */
  close(reason: unknown): void {
    this.#closed = true;
    for (const { fail } of [...this.#waiting]) fail(reason);
  }

  /** Watches all ranks during a job. `onProgress` gets the hops that they have done. */
  async watchJob<T>(
    id: number,
    onProgress: (done: number) => void,
    work: (fail: (reason: unknown) => void) => Promise<T>,
  ): Promise<T> {
    let last = -1;
    const report = () => {
      const done = this.#monitor.done(id);
      if (done !== last) onProgress(last = done);
    };
    this.#job = { id, asking: false, begun: false, report };
    try {
      return await this.watch(undefined, work);
    } finally {
      this.#job = undefined;
    }
  }

  /** Waits for `work` and watches the rank that it waits for (undefined: all), unless `fail` ends it first. */
  async watch<T>(rank: number | undefined, work: (fail: (reason: unknown) => void) => Promise<T>): Promise<T> {
    const { promise: failed, reject: fail } = deferred<never>();
    const entry: Waiting = { rank, fail };
    this.#waiting.add(entry);
    try {
      return await this.hold(Promise.race([work(fail), failed]));
    } finally {
      this.#waiting.delete(entry);
    }
  }

  /** Looks at the ranks, and keeps the process alive, until `work` has ended. */
  async hold<T>(work: Promise<T>): Promise<T> {
    if (this.#looking++ === 0) {
      this.#monitor.listen();
      this.#timer = setInterval(() => this.#lookAround(), LOOK);
    }
    try {
      return await work;
    } finally {
      if (--this.#looking === 0) clearInterval(this.#timer);
    }
  }

  #lookAround(): void {
    const { silence, patience, ask } = this.#parts;
    for (const { rank, seconds } of this.#monitor.silent(silence)) {
      this.fault(rank, `no sign of life for ${seconds.toFixed(1)} s`);
    }
    const job = this.#job;
    job?.report();
    if (job === undefined || job.asking) return;
    const [suspicion] = this.#monitor.suspicions(job.id, patience);
    if (suspicion === undefined) return;
    job.asking = true;
    convict(suspicion, patience, (rank) => ask(rank, job.id)).then((error) => {
      if (error !== undefined && this.#job === job) this.fail(error);
    }, () => {}).finally(() => (job.asking = false));
  }
}
