/** A rank's life inside its worker: opens a device, runs jobs, gives signs of life, ends. Called over Comlink. */
import * as Comlink from "comlink";
import { InputError, RankError } from "../errors.ts";
import type { Block } from "../layout/shards.ts";
import { now } from "../trace/clock.ts";
import { type AnyDevice, BackEnd, owing, type RankGpu } from "./back-end.ts";
import { type CachedRows, KvCache } from "./cache.ts";
import { halting } from "./halt.ts";
import {
  type AttendJob,
  type AttendOutcome,
  type CacheSetup,
  endOf,
  type Fault,
  type Job,
  type JobProgress,
  type Opened,
  type Pulse,
  type RankSetup,
  type StepJob,
} from "./job.ts";
import { LeavePort } from "./leave.ts";
import { Mesh } from "./mesh.ts";
import type { MeshRing } from "./mesh-ring.ts";
import { runAttend, runStep } from "./run.ts";
import { type RankParts, RunningJob } from "./running.ts";
import { sliced } from "./sliced.ts";

/** What differs between a Web Worker and a Node worker thread. */
export interface RankPlatform extends RankGpu {
  /** Ends this worker at once. */
  exit(): void;
  /** Takes a Web Lock for as long as this worker lives. */
  hold?(lock: string): Promise<void>;
}

/** Milliseconds between signs of life. */
const PULSE = 500;

/** The service that a worker exposes. One job at a time. */
export class RankService {
  readonly #platform: RankPlatform;
  #setup: RankSetup | undefined;
  #mesh: Mesh | undefined;
  #backEnd: BackEnd | undefined;
  #opening: Promise<Opened> | undefined;
  readonly #caches = new Map<number, KvCache<unknown>>();
  #running: RunningJob | undefined;
  #lost: string | undefined;
  /** A planned fault ends this worker, which must send nothing more. */
  #dying = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(platform: RankPlatform) {
    this.#platform = platform;
  }

  /** Takes this rank's place: connects its ports and opens its back-end. */
  open(setup: RankSetup): Promise<Opened> {
    return this.#opening = this.#open(setup);
  }

  async #open(setup: RankSetup): Promise<Opened> {
    this.#setup = setup;
    this.#mesh = new Mesh(setup.rank, setup.size, setup.ports, setup.link);
    this.#mesh.onChange = () => {
      this.#pulse();
      this.#running?.onMail();
    };
    if (setup.lock !== undefined) await this.#platform.hold!(setup.lock);
    this.#pulse();
    this.#timer = setInterval(() => this.#pulse(), PULSE);
    this.#backEnd = await BackEnd.open(
      setup,
      this.#platform,
      (what) => this.#running?.fail(new RankError(setup.rank, this.#running.hop, undefined, what)),
      (what) => this.#deviceLost(what),
    );
    return this.#backEnd.opened;
  }

  #deviceLost(what: string): void {
    if (this.#dying) return;
    this.#lost = what;
    const running = this.#running;
    running?.fail(new RankError(this.#setup!.rank, running.hop, endOf(running.phase), what));
    this.#pulse();
  }

  /**
   * Runs one attention on this rank's shard, in slices if its chunks are larger than the device's buffers. Errors:
   * LimitError.
   */
  async attend(job: AttendJob): Promise<AttendOutcome> {
    const most = this.#backEnd!.sliceRows(job, this.#setup!.size);
    const fitting = (device: AnyDevice): AnyDevice => (most === undefined ? device : sliced(device, job.shape, most));
    const keys = job.kv.block;
    if (job.halt === undefined) {
      return await this.#run(job, fitting, () => keys, (ring, device) => runAttend(job, ring, device));
    }
    const { port, watch } = job.halt;
    const leave = new LeavePort(port, (kind) => void this.strike(kind));
    return await this.#run(job, fitting, () => keys, (ring, device) => {
      const halted = halting(ring, device, (state) => this.#halted(state.hop, () => leave.ask(state)), watch);
      return runAttend(job, halted.ring, halted.device);
    }, leave);
  }

  /** Makes room for a session's cache. Errors: LimitError. */
  async openCache({ session, pages, widths, dtype }: CacheSetup): Promise<void> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    const pool = this.#backEnd!.pagePool(pages, widths, dtype);
    this.closeCache(session);
    this.#caches.set(session, new KvCache(this.#setup!.rank, pages, pool));
  }

  /** Runs one step of a session; `settle` must follow. */
  step(job: StepJob): Promise<AttendOutcome> {
    const cache = this.#cache(job.session);
    const load = () => {
      cache.pages.begin();
      for (const rows of job.appends) cache.append(rows);
      return cache.pages.view(job.sequences).block;
    };
    return this.#run(job, (device) => device, load, (ring, device) => runStep(job, ring, device, cache));
  }

  /** Keeps or undoes what the last step appended. */
  settle(session: number, keep: boolean): void {
    const { pages } = this.#cache(session);
    if (keep) pages.commit();
    else pages.rollback();
  }

  /** Forgets a sequence. */
  drop(session: number, sequence: number): void {
    this.#cache(session).pages.drop(sequence);
  }

  /** All that a session has cached on this rank. */
  async copyCache(session: number): Promise<CachedRows[]> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    try {
      const rows = await this.#cache(session).copy();
      return Comlink.transfer(rows, rows.map((r) => r.data));
    } catch (error) {
      await this.#lossReported();
      this.#requireDevice();
      throw error;
    }
  }

  /** Fills an empty cache. */
  async fillCache(session: number, rows: readonly CachedRows[]): Promise<void> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    for (const r of rows) this.#cache(session).append(r);
  }

  closeCache(session: number): void {
    this.#caches.get(session)?.destroy();
    this.#caches.delete(session);
  }

  /** Takes a new port to a rank that was replaced. */
  connect(peer: number, port: MessagePort): void {
    this.#mesh!.connect(peer, port);
  }

  /** Why this rank can't work any more, if so. */
  async ill(): Promise<string | undefined> {
    if (this.#dying) await forEver();
    return this.#lost;
  }

  /** How far a job has come here. Messages in this thread's queue count: they have arrived, so they come in first. */
  async progress(job: number): Promise<JobProgress> {
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, QUEUE));
    if (this.#running?.id === job) return { state: "running", ...this.#running.ring.mail };
    return { state: job > this.#mesh!.ended ? "ahead" : "ended", sent: [], received: [], awaiting: [] };
  }

  /** Buffers and bytes that this rank's pool holds now. */
  held(): { readonly buffers: number; readonly bytes: number } {
    return this.#backEnd?.held ?? { buffers: 0, bytes: 0 };
  }

  #requireDevice(): void {
    if (this.#lost !== undefined) throw new RankError(this.#setup!.rank, undefined, undefined, this.#lost);
  }

  async #lossReported(): Promise<void> {
    if (this.#lost === undefined) await this.#backEnd!.lossReported();
  }

  #cache(session: number): KvCache<unknown> {
    const cache = this.#caches.get(session);
    if (cache === undefined) throw new Error(`rank ${this.#setup!.rank} has no cache of session ${session}`);
    return cache;
  }

  /** Runs one job. Settles only once nothing of it is under way. */
  async #run(
    job: Job,
    fitting: (device: AnyDevice) => AnyDevice,
    load: () => Block,
    program: (ring: MeshRing, device: AnyDevice) => Promise<ArrayBuffer>,
    leave?: LeavePort,
  ): Promise<AttendOutcome> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    const parts: RankParts = {
      mesh: this.#mesh!,
      backEnd: this.#backEnd!,
      onChange: () => this.#pulse(),
      strike: (kind) => this.strike(kind),
    };
    const running = new RunningJob(job, parts, fitting, leave);
    this.#running = running;
    try {
      return await running.run(load, program);
    } catch (error) {
      running.fail(error);
      if (this.#dying) await forEver();
      await Promise.race([running.ended(), this.#lost === undefined ? forEver() : owing()]);
      if (!isNamed(error)) await this.#lossReported();
      throw this.#named(error);
    } finally {
      running.end();
      this.#running = undefined;
      this.#pulse();
    }
  }

  /** Waits for leave. The pulse says so to the monitor: a halted rank is not at fault. */
  async #halted(hop: number, wait: () => Promise<void>): Promise<void> {
    const running = this.#running!;
    const { phase } = running;
    running.at("halt", hop);
    await wait();
    running.phase = phase;
  }

  /** The error with this rank's name, unless it needs none. */
  #named(error: unknown): unknown {
    if (isNamed(error)) return error;
    const { hop, phase } = this.#running!;
    return new RankError(
      this.#setup!.rank,
      hop,
      endOf(phase),
      this.#lost ?? (error instanceof Error ? error.message : String(error)),
    );
  }

  /** Lets a job begin: every rank has compiled. */
  go(id: number): void {
    if (this.#running?.id === id) this.#running.go();
  }

  /** Ends a job at what it waits for, or at its next hop. Resolves once nothing of it is under way here. */
  async cancel(id: number, reason: string): Promise<void> {
    if (this.#running?.id !== id) return this.#mesh?.end(id);
    this.#running.fail(new DOMException(reason, "AbortError"));
    await this.#running.over;
  }

  /** Gives everything back, once the device has given its last answers. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => {});
    this.#running?.fail(new DOMException("the cluster was disposed", "AbortError"));
    await this.#running?.over;
    clearInterval(this.#timer);
    this.#mesh?.close();
    for (const session of [...this.#caches.keys()]) this.closeCache(session);
    this.#backEnd?.destroyPool();
    await this.#backEnd?.end();
    this.#setup?.pulse.close();
  }

  /** Makes this rank fail on purpose. Resolves only if it goes on. */
  async strike(kind: Fault["kind"]): Promise<void> {
    if (kind === "lose-device") this.#backEnd?.lose();
    if (kind !== "exit") return;
    this.#dying = true;
    clearInterval(this.#timer);
    this.#mesh!.close();
    await this.#backEnd?.end();
    this.#platform.exit();
    await forEver();
  }

  #pulse(): void {
    if (this.#dying) return;
    const running = this.#running;
    const traffic = running && this.#mesh!.traffic(running.id);
    this.#setup!.pulse.postMessage(
      {
        rank: this.#setup!.rank,
        at: now(),
        job: running?.id,
        phase: running?.phase ?? "idle",
        hop: running?.hop ?? 0,
        done: running?.done ?? 0,
        awaiting: traffic?.box.awaiting ?? [],
        sending: traffic?.sending ?? 0,
        lost: this.#lost,
      } satisfies Pulse,
    );
  }
}

/** Whether an error names what was wrong already, or is the caller's own reason. */
function isNamed(error: unknown): boolean {
  return error instanceof InputError || error instanceof RankError ||
    (error instanceof DOMException && error.name === "AbortError");
}

/** Milliseconds, spent twice, in which a running thread takes in the messages of its queue. */
const QUEUE = 20;

function forEver(): Promise<never> {
  return new Promise(() => {});
}
