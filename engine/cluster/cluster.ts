/** Starts ranks in workers, gives them work, gathers what they make, watches over them, and ends them. */
import * as Comlink from "comlink";
import { InputError, RankError } from "../errors.ts";
import { shard } from "../layout/shards.ts";
import type { AttendJob, AttendOutcome, Opened, Pulse } from "../rank/job.ts";
import type { RankService } from "../rank/service.ts";
import type { Shape } from "../rank/chunk.ts";
import "../rank/transfer-errors.ts";
import { now } from "../trace/clock.ts";
import { timesOf } from "../trace/summary.ts";
import { Monitor } from "./monitor.ts";
import type { Platform, RankWorker } from "./platform.ts";
import { keyChunk, queryChunk, scatterResult } from "./scatter.ts";
import type { AdapterFacts, AttendInput, AttendResult, Backend, ClusterFace, ClusterOptions, Link } from "./types.ts";
import { validateAttend } from "./validate.ts";

/** Seconds from a fault to the error that names it, and the most a rank may take to open its device. */
const DEFAULT_TIMEOUT = 5;
const OPEN_SECONDS = 60;
/** Seconds that ranks are given to stop a failed or cancelled job. */
const STOP_SECONDS = 1;
/** Milliseconds between looks at the ranks' signs of life. */
const WATCH = 200;
/** Milliseconds between a worker's end and the error that names it. */
const DEATH_NOTICE = 300;

interface Rank {
  readonly worker: RankWorker;
  readonly service: Comlink.Remote<RankService>;
  readonly pulse: MessagePort;
}

/** N ranks, each a worker with a device of its own, on a full mesh of message channels. */
export class Cluster implements ClusterFace {
  readonly size: number;
  readonly adapter: AdapterFacts;
  readonly #platform: Platform;
  readonly #backend: Backend;
  readonly #link: Link | undefined;
  readonly #ranks: readonly Rank[];
  readonly #monitor: Monitor;
  readonly #timestamps: boolean;
  readonly #dead = new Set<number>();
  #jobs = 0;
  #busy = false;
  #broken: Error | undefined;
  #fail: (reason: unknown) => void = () => {};

  private constructor(platform: Platform, options: ClusterOptions, ranks: readonly Rank[], monitor: Monitor, opened: readonly Opened[]) {
    this.size = ranks.length;
    this.adapter = opened[0].adapter;
    this.#timestamps = opened.every((o) => o.timestamps);
    this.#platform = platform;
    this.#backend = options.backend ?? "webgpu";
    this.#link = options.link;
    this.#ranks = ranks;
    this.#monitor = monitor;
    ranks.forEach(({ worker }, rank) => worker.onDeath((how) => this.#died(rank, how)));
  }

  /** Starts the ranks. Errors: InputError; NoAdapterError where WebGPU has no adapter; AbortError. */
  static async start(platform: Platform, options: ClusterOptions): Promise<Cluster> {
    validateOptions(options);
    options.signal?.throwIfAborted();
    const { ranks: size, backend = "webgpu", link, fault } = options;
    const shaders = { ...(await platform.shaders()), ...options.shaders };
    const monitor = new Monitor(size, options.timeout ?? DEFAULT_TIMEOUT);
    const mesh = meshPorts(size);
    const ranks: Rank[] = [];
    const limit = openLimit(options.signal);
    try {
      const opening = mesh.map(async (ports, rank) => {
        const worker = platform.startWorker();
        const { port1: pulse, port2 } = new MessageChannel();
        const service = Comlink.wrap<RankService>(worker.endpoint);
        ranks[rank] = { worker, service, pulse };
        pulse.onmessage = ({ data }: MessageEvent<Pulse>) => monitor.put(data);
        const setup = { rank, size, backend, shaders, link, fault, ports, pulse: port2 };
        const dead = new Promise<never>((_, reject) => worker.onDeath((how) => reject(monitor.dead(rank, how))));
        const given = [...ports.filter((p) => p !== undefined), port2];
        return await Promise.race([service.open(Comlink.transfer(setup, given)), dead, limit.late]);
      });
      const opened = await Promise.all(opening);
      return new Cluster(platform, options, ranks, monitor, opened);
    } catch (error) {
      await endAll(ranks);
      throw error;
    } finally {
      limit.clear();
    }
  }

  async attend(input: AttendInput): Promise<AttendResult> {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#busy) throw new InputError("cluster: an experiment is running; expected one at a time: await it first");
    input.signal?.throwIfAborted();
    validateAttend(input);
    this.#busy = true;
    try {
      return await this.#attend(input);
    } finally {
      this.#busy = false;
    }
  }

  async #attend(input: AttendInput): Promise<AttendResult> {
    const { heads, kvHeads, headDim, sequences, variant = "pass-kv", wireDtype = "f32", causal = true } = input;
    const scale = input.scale ?? 1 / Math.sqrt(headDim);
    const travels = (what: typeof variant) => (variant === what ? wireDtype : "f32");
    const shape: Shape = { heads, kvHeads, headDim, scale, causal, q: travels("pass-q"), kv: travels("pass-kv") };
    const blocks = shard(sequences, this.size);
    const id = this.#jobs++;
    const origin = now();
    const outcomes = await this.#all(id, input, (rank) => {
      const q = queryChunk(rank, blocks.queries[rank], input, shape);
      const kv = keyChunk(rank, blocks.keys[rank], input, shape);
      const job: AttendJob = { id, origin, variant, shape, q, kv };
      return this.#ranks[rank].service.attend(Comlink.transfer(job, [q.data, kv.data]));
    });
    const total = now() - origin;
    const rows = sequences.reduce((sum, s) => sum + s.new, 0);
    const out = new Float32Array(rows * heads * headDim);
    const lse = new Float32Array(rows * heads);
    outcomes.forEach(({ data }, rank) => scatterResult(data, blocks.queries[rank], sequences, shape, out, lse));
    const spans = outcomes.flatMap((o) => o.spans);
    return {
      out,
      lse,
      report: {
        adapter: this.adapter,
        backend: this.#backend,
        runtime: this.#platform.runtime,
        kernel: [...new Set(outcomes.flatMap((o) => o.kernels))].join(" + "),
        clock: this.#backend === "webgpu" && this.#timestamps ? "gpu-timestamps" : "host",
        variant,
        ranks: this.size,
        wireDtype,
        causal,
        scale,
        shape: { heads, kvHeads, headDim, sequences },
        link: this.#link ?? null,
        perRank: outcomes.map((o) => o.traffic),
        times: timesOf(spans, total),
        spans,
      },
    };
  }

  /** Runs one job on every rank; at the first fault the others are told to stop, and the fault is thrown. */
  async #all(id: number, input: AttendInput, run: (rank: number) => Promise<AttendOutcome>): Promise<AttendOutcome[]> {
    this.#monitor.rest();
    const hops = this.size * this.size;
    let told = -1;
    const failed = new Promise<never>((_, reject) => (this.#fail = reject));
    const abort = () => this.#fail(input.signal!.reason);
    input.signal?.addEventListener("abort", abort, { once: true });
    const watch = setInterval(() => {
      const fault = this.#monitor.check(id);
      if (fault !== undefined) this.#fail(fault);
      const done = this.#monitor.done(id);
      if (done !== told) input.onProgress?.((told = done), hops);
    }, WATCH);
    const running = this.#ranks.map((_, rank) => run(rank));
    try {
      const outcomes = await Promise.race([Promise.all(running), failed]);
      if (told !== hops) input.onProgress?.(hops, hops);
      return outcomes;
    } catch (error) {
      for (const { service } of this.#ranks) service.cancel(id, "another rank failed, or the experiment was cancelled").catch(() => {});
      // The ranks that live stop at once; a cluster with one that does not cannot be used again.
      const settled = Promise.allSettled(running.filter((_, rank) => !this.#dead.has(rank))).then(() => true);
      if (!(await Promise.race([settled, seconds(STOP_SECONDS).then(() => false)]))) {
        this.#break(error instanceof RankError ? error : new Error("a rank did not stop when it was cancelled: dispose the cluster and start another"));
      }
      throw error;
    } finally {
      clearInterval(watch);
      input.signal?.removeEventListener("abort", abort);
      this.#fail = () => {};
    }
  }

  /** Ends every worker. What runs fails. */
  async dispose(): Promise<void> {
    this.#break(new Error("the cluster was disposed"));
    await endAll(this.#ranks.filter((_, rank) => !this.#dead.has(rank)));
    for (const { worker } of this.#ranks) worker.terminate();
  }

  /** A worker ended by itself. Its neighbours are given a moment to say what they await of it. */
  #died(rank: number, how: string): void {
    if (this.#broken !== undefined) return;
    this.#dead.add(rank);
    setTimeout(() => this.#break(this.#monitor.dead(rank, how)), DEATH_NOTICE);
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#fail(error);
  }
}

/** A channel between each two ranks: `result[a][b]` is a's end of the one to b. */
function meshPorts(size: number): (MessagePort | undefined)[][] {
  const ports = Array.from({ length: size }, () => new Array<MessagePort | undefined>(size).fill(undefined));
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const { port1, port2 } = new MessageChannel();
      ports[a][b] = port1;
      ports[b][a] = port2;
    }
  }
  return ports;
}

/** Closes ranks, then ends their workers: a worker thread that ends while Dawn still owes it an answer takes the process down. */
async function endAll(ranks: readonly Rank[]): Promise<void> {
  const closing = ranks.map(({ service }) => service.close());
  await Promise.race([Promise.allSettled(closing), seconds(STOP_SECONDS)]);
  for (const { worker, service, pulse } of ranks) {
    pulse.close();
    service[Comlink.releaseProxy]();
    worker.terminate();
  }
}

/** Rejects when ranks take too long to open, or the start is cancelled; `clear` ends the watch. */
function openLimit(signal: AbortSignal | undefined): { late: Promise<never>; clear: () => void } {
  let clear = () => {};
  const late = new Promise<never>((_, reject) => {
    const abort = () => reject(signal!.reason);
    const timer = setTimeout(() => reject(new Error(`the ranks' GPU devices did not open within ${OPEN_SECONDS} s`)), OPEN_SECONDS * 1000);
    signal?.addEventListener("abort", abort);
    clear = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
  });
  late.catch(() => {});
  return { late, clear };
}

/** Resolves after some seconds, without keeping a process alive. */
function seconds(n: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, n * 1000);
    (timer as { unref?: () => void }).unref?.();
  });
}

function validateOptions({ ranks, backend, link, timeout }: ClusterOptions): void {
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > 64) throw new InputError(`ranks: found ${ranks}, expected a whole number from 1 to 64`);
  if (backend !== undefined && backend !== "webgpu" && backend !== "cpu") throw new InputError(`backend: found ${JSON.stringify(backend)}, expected "webgpu" or "cpu"`);
  if (link !== undefined && !(link.bandwidth > 0 && link.latency >= 0 && Number.isFinite(link.latency))) {
    throw new InputError(`link: found ${link.bandwidth} bytes/s and ${link.latency} s, expected a bandwidth above 0 and a latency of at least 0`);
  }
  if (timeout !== undefined && !(timeout > 0)) throw new InputError(`timeout: found ${timeout}, expected seconds above 0`);
}
