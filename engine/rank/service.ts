/** A rank's life inside its worker: opens a device, runs jobs, tells how it is, ends. Called over Comlink. */
import * as Comlink from "comlink";
import { CpuAttention } from "../cpu/attention.ts";
import { CpuPagePool } from "../cpu/page-pool.ts";
import { InputError, RankError } from "../errors.ts";
import { GpuAttention } from "../gpu/attention.ts";
import { type Gpu, openDevice } from "../gpu/device.ts";
import { GpuPagePool } from "../gpu/page-pool.ts";
import { Kernels } from "../gpu/pipelines.ts";
import { Pool } from "../gpu/pool.ts";
import { sliceRows } from "../gpu/slice-rows.ts";
import type { PagePool } from "../layout/page-pool.ts";
import type { Block } from "../layout/shards.ts";
import { requireFinite } from "../reference/finite.ts";
import { bytesPer } from "../tensor/dtype.ts";
import { now, Recorder } from "../trace/clock.ts";
import { type CachedRows, KvCache } from "./cache.ts";
import { deferred } from "./deferred.ts";
import { halting } from "./halt.ts";
import {
  type AttendJob,
  type AttendOutcome,
  type CacheSetup,
  endOf,
  type Fault,
  type Job,
  type Opened,
  type Progress,
  type Pulse,
  type RankSetup,
  type StepJob,
} from "./job.ts";
import { LeavePort } from "./leave.ts";
import { Mesh } from "./mesh.ts";
import { MeshRing } from "./mesh-ring.ts";
import { type Device, exposedWaits, runAttend, runStep } from "./run.ts";
import { sliced } from "./sliced.ts";

/** What differs between a Web Worker and a Node worker thread. */
export interface RankPlatform {
  /** The runtime's WebGPU, if it has any. */
  gpu(): GPU | undefined;
  /** Awaits a device's answer. */
  readonly wait?: Gpu["wait"];
  /** Whether pipelines are compiled on the worker's own thread (see Kernels). */
  readonly blockingCompile: boolean;
  /** Ends this worker at once. */
  exit(): void;
  /** Takes a Web Lock for as long as this worker lives. */
  hold?(lock: string): Promise<void>;
}

/** Milliseconds between signs of life. */
const PULSE = 500;

// deno-lint-ignore no-explicit-any -- a device's own handles are its own
type AnyDevice = Device<any, any, any>;

interface Running {
  readonly id: number;
  readonly ring: MeshRing;
  /** Ends the job where it waits. */
  readonly fail: (reason: unknown) => void;
  /** Leave to begin, once every rank has compiled. */
  readonly go: () => void;
  /** Resolves when nothing of the job is under way any more. */
  readonly over: Promise<void>;
  phase: Pulse["phase"];
  hop: number;
  done: number;
  /** Called when a message of this job comes or goes. */
  readonly onMail: () => void;
}

/** The service that a worker exposes. One job at a time. */
export class RankService {
  readonly #platform: RankPlatform;
  #setup: RankSetup | undefined;
  #mesh: Mesh | undefined;
  #gpu: { readonly gpu: Gpu; readonly kernels: Kernels; readonly pool: Pool } | undefined;
  #opening: Promise<Opened> | undefined;
  readonly #caches = new Map<number, KvCache<unknown>>();
  #running: Running | undefined;
  #lost: string | undefined;
  /** A planned fault ends this worker: it says nothing more. */
  #dying = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(platform: RankPlatform) {
    this.#platform = platform;
  }

  /** Takes this rank's place: connects its ports and opens its device. */
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
    if (setup.backend === "cpu") {
      const name = "none: plain TypeScript on the CPU";
      return {
        adapter: { name, vendor: "", architecture: "", description: "", software: true, features: [] },
        timestamps: false,
        limits: undefined,
      };
    }
    const gpu = await openDevice(this.#platform.gpu(), this.#platform.wait);
    const kernels = new Kernels(gpu, setup.shaders, this.#platform.blockingCompile, setup.tune ?? !gpu.facts.software);
    this.#gpu = { gpu, kernels, pool: new Pool(gpu.device) };
    gpu.device.onuncapturederror = ({ error }) =>
      this.#running?.fail(new RankError(setup.rank, this.#running.hop, undefined, refusalOf(error)));
    gpu.device.lost.then(({ reason, message }) => {
      if (this.#dying) return;
      this.#lost = `its GPU device was lost (${reason}${message && `: ${message}`})`;
      this.#running?.fail(new RankError(setup.rank, this.#running.hop, endOf(this.#running.phase), this.#lost));
      this.#pulse();
    });
    return { adapter: gpu.facts, timestamps: gpu.timestamps, limits: gpu.limits };
  }

  /**
   * Runs one attention on this rank's shard, in slices where its chunks are larger than the device's buffers. Errors:
   * LimitError.
   */
  async attend(job: AttendJob): Promise<AttendOutcome> {
    const most = this.#gpu && sliceRows(job.shape, job.variant, this.#setup!.size, job.kv.block, this.#gpu.gpu.limits);
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
  async openCache({ session, pages, width, dtype }: CacheSetup): Promise<void> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    const pool = this.#gpu === undefined
      ? new CpuPagePool(pages, width, dtype)
      : new GpuPagePool(this.#gpu.gpu, pages, width * bytesPer(dtype));
    this.closeCache(session);
    this.#caches.set(session, new KvCache(this.#setup!.rank, pages, pool as PagePool<unknown>));
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

  /** Keeps or takes back what the last step appended. */
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

  /** Takes a new way to a rank that was replaced. */
  connect(peer: number, port: MessagePort): void {
    this.#mesh!.connect(peer, port);
  }

  /** Why this rank can do nothing any more, if so. */
  async ill(): Promise<string | undefined> {
    if (this.#dying) await forEver();
    return this.#lost;
  }

  /** How far a job has come here. What lies in this thread's queue is let in first: it has arrived. */
  async progress(job: number): Promise<Progress> {
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, QUEUE));
    if (this.#running?.id === job) return { state: "running", ...this.#running.ring.mail };
    return { state: job > this.#mesh!.ended ? "ahead" : "ended", sent: [], received: [], awaiting: [] };
  }

  /** Buffers and bytes that this rank's pool holds now. */
  held(): { readonly buffers: number; readonly bytes: number } {
    return { buffers: this.#gpu?.pool.count ?? 0, bytes: this.#gpu?.pool.bytes ?? 0 };
  }

  #requireDevice(): void {
    if (this.#lost !== undefined) throw new RankError(this.#setup!.rank, undefined, undefined, this.#lost);
  }

  /** Gives a lost device the time to report its loss: in Deno calls on it fail earlier. */
  async #lossReported(): Promise<void> {
    if (this.#gpu === undefined || this.#lost !== undefined) return;
    await Promise.race([this.#gpu.gpu.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_NOTICE))]);
  }

  #cache(session: number): KvCache<unknown> {
    const cache = this.#caches.get(session);
    if (cache === undefined) throw new Error(`rank ${this.#setup!.rank} has no cache of session ${session}`);
    return cache;
  }

  /**
   * Runs one job, with its spans, its traffic, its faults and its end: compiles for the keys that `load` gives, waits
   * for leave to begin, runs the program. It ends only when nothing of it is under way any more.
   */
  async #run(
    job: Job,
    fitting: (device: AnyDevice) => AnyDevice,
    load: () => Block,
    program: (ring: MeshRing, device: AnyDevice) => Promise<ArrayBuffer>,
    leave?: LeavePort,
  ): Promise<AttendOutcome> {
    if (this.#dying) await forEver();
    this.#requireDevice();
    const { rank } = this.#setup!;
    const mesh = this.#mesh!;
    const recorder = new Recorder(rank, job.origin);
    const device = fitting(
      this.#gpu === undefined
        ? new CpuAttention(job.shape, recorder)
        : new GpuAttention(this.#gpu.gpu, this.#gpu.kernels, this.#gpu.pool, job.shape, recorder),
    );
    const compileBefore = this.#gpu?.kernels.compileSeconds ?? 0;
    const { fault } = job;
    const ring = new MeshRing(
      mesh,
      job.id,
      recorder,
      fault?.rank === rank ? { fault, strike: () => this.strike(fault.kind) } : undefined,
    );
    const [failed, go, over] = [deferred<never>(), deferred<void>(), deferred<void>()];
    const running: Running = {
      id: job.id,
      ring,
      fail: failed.reject,
      go: go.resolve,
      over: over.promise,
      phase: "upload",
      hop: 0,
      done: 0,
      onMail: () => leave?.tell(ring.mail),
    };
    this.#running = running;
    recorder.onBegin = (phase, hop) => {
      if (phase === "attend") running.done = hop;
      Object.assign(running, { phase, hop });
      this.#pulse();
    };
    failed.promise.catch((reason) => {
      mesh.traffic(job.id).box.fail(reason);
      leave?.fail(reason);
      device.abandon(reason);
    });
    const work = (async () => {
      let data: ArrayBuffer | undefined;
      try {
        const keys = load();
        await device.prepare({
          queries: job.q.block,
          keys,
          hops: mesh.size,
          parts: job.variant === "pass-q" ? mesh.size : 1,
        });
        if (mesh.size > 1) {
          const start = recorder.begin("barrier", 0);
          await Promise.race([go.promise, failed.promise]);
          recorder.add("device", "barrier", 0, start);
        }
        data = await program(ring, device);
        await ring.flushed();
        requireFiniteRows(rank, data, job);
        return data;
      } finally {
        device.dispose(data === undefined);
      }
    })();
    try {
      const data = await Promise.race([work, failed.promise]);
      running.done = mesh.size;
      this.#pulse();
      const spans = [...recorder.spans, ...exposedWaits(recorder.spans)];
      const compileSeconds = (this.#gpu?.kernels.compileSeconds ?? 0) - compileBefore;
      return Comlink.transfer({ data, spans, traffic: ring.traffic, compileSeconds, kernels: device.used }, [data]);
    } catch (error) {
      running.fail(error);
      if (this.#dying) await forEver();
      await Promise.race([work.catch(() => {}), this.#lost === undefined ? forEver() : owing()]);
      if (!isNamed(error)) await this.#lossReported();
      throw this.#named(error);
    } finally {
      mesh.end(job.id);
      leave?.close();
      this.#running = undefined;
      over.resolve();
      this.#pulse();
    }
  }

  /** Waits for leave, and says so to whoever watches: a rank that is halted is not at fault. */
  async #halted(hop: number, wait: () => Promise<void>): Promise<void> {
    const running = this.#running!;
    const { phase } = running;
    Object.assign(running, { phase: "halt", hop });
    this.#pulse();
    await wait();
    running.phase = phase;
  }

  /** The error with this rank's name, unless it is one that needs none. */
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

  /** Ends a job where it waits or at its next hop. Resolves when nothing of it is under way here. */
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
    this.#gpu?.pool.destroy();
    await this.#letDeviceGo();
    this.#setup?.pulse.close();
  }

  /** A worker thread of Node's that ends while Dawn owes it an answer takes the process down. */
  async #letDeviceGo(): Promise<void> {
    this.#gpu?.gpu.device.destroy();
    await this.#gpu?.gpu.device.lost;
    await Promise.race([this.#gpu?.gpu.answered(), owing()]);
    await this.#gpu?.kernels.settled();
  }

  /** Makes this rank fail on purpose; resolves only where it goes on. */
  async strike(kind: Fault["kind"]): Promise<void> {
    if (kind === "lose-device") this.#gpu?.gpu.device.destroy();
    if (kind !== "exit") return;
    this.#dying = true;
    clearInterval(this.#timer);
    this.#mesh!.close();
    await this.#letDeviceGo();
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

/** Milliseconds in which a lost device reports its loss. */
const LOSS_NOTICE = 100;

/** Whether an error says by itself what was wrong, or is the caller's own reason. */
function isNamed(error: unknown): boolean {
  return error instanceof InputError || error instanceof RankError ||
    (error instanceof DOMException && error.name === "AbortError");
}

/** Milliseconds, twice, in which a thread that can run takes in the messages that lay in its queue. */
const QUEUE = 20;

/** Throws RankError where a row of O or LSE is not finite; padding is nobody's result. */
function requireFiniteRows(rank: number, data: ArrayBuffer, { q: { block }, shape: { heads, headDim } }: Job): void {
  const o = new Float32Array(data, 0, block.rows * heads * headDim);
  const lse = new Float32Array(data, o.byteLength, block.rows * heads);
  for (const { row, length } of block.runs) {
    const end = row + length;
    requireFinite(
      rank,
      o.subarray(row * heads * headDim, end * heads * headDim),
      lse.subarray(row * heads, end * heads),
    );
  }
}

function forEver(): Promise<never> {
  return new Promise(() => {});
}

/** A lost device may owe answers for ever: so long they are awaited. */
function owing(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 3000));
}

/** What the GPU refused, and what to do where it has no memory left; Node has no such class by a global name. */
function refusalOf(error: GPUError): string {
  return error.constructor.name === "GPUOutOfMemoryError"
    ? `the GPU has too little memory left for this experiment: take fewer tokens, or end what else uses it (${error.message})`
    : `the GPU refused: ${error.message}`;
}
