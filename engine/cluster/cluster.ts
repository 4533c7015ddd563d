/** Starts ranks in workers, gives them work, gathers what they make, watches over them, replaces and ends them. */
import * as Comlink from "comlink";
import { InputError, RankError } from "../errors.ts";
import { replaced, sayKernels, type Shaders } from "../gpu/shaders.ts";
import { shard } from "../layout/shards.ts";
import { type Choice } from "../policy/index.ts";
import type { Shape } from "../ring/chunk.ts";
import type { AttendJob, AttendOutcome, Opened } from "../rank/job.ts";
import { now } from "../trace/clock.ts";
import { timesOf } from "../trace/summary.ts";
import type { DeviceLimits } from "../gpu/device.ts";
import { requireRow } from "../gpu/slice-rows.ts";
import { haltPorts } from "./halts.ts";
import { Monitor } from "./monitor.ts";
import type { Platform } from "./platform.ts";
import { chooseVariant, Rates } from "./rates.ts";
import { keyChunk, queryChunk, scatterResult } from "./scatter.ts";
import { Session } from "./session.ts";
import { Turns } from "./turns.ts";
import type { AdapterFacts, AttendInput, AttendResult, Backend, ClusterFace, ClusterOptions, Report, SessionOptions, Variant } from "./types.ts";
import { validateAttend } from "./validate.ts";
import { endRanks, meshPorts, seconds, startRank, STOP_SECONDS, type WorkerRank } from "./worker-rank.ts";

/** Seconds from a fault to the error that names it. */
const DEFAULT_TIMEOUT = 5;
/** Milliseconds between looks at the ranks' signs of life. */
const WATCH = 200;
/** Milliseconds between a worker's end and the error that names it. */
const DEATH_NOTICE = 300;

/** How a job may be watched and cancelled. */
export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** N ranks, each a worker with a device of its own, on a full mesh of message channels. */
export class Cluster implements ClusterFace {
  readonly size: number;
  readonly adapter: AdapterFacts;
  readonly options: ClusterOptions;
  readonly backend: Backend;
  /** Rates of attention and links seen so far. */
  readonly rates = new Rates();
  readonly #platform: Platform;
  readonly #shaders: Shaders;
  readonly #ranks: WorkerRank[];
  readonly #monitor: Monitor;
  readonly #timestamps: boolean;
  readonly #limits: DeviceLimits | undefined;
  readonly #dead = new Set<number>();
  readonly #sessions = new Set<Session>();
  #jobs = 0;
  #opened = 0;
  #busy = false;
  #disposed = false;
  #broken: Error | undefined;
  #fail: (reason: unknown) => void = () => {};

  private constructor(platform: Platform, options: ClusterOptions, shaders: Shaders, ranks: WorkerRank[], monitor: Monitor, opened: readonly Opened[]) {
    this.size = ranks.length;
    this.adapter = opened[0].adapter;
    this.options = options;
    this.backend = options.backend ?? "webgpu";
    this.#timestamps = opened.every((o) => o.timestamps);
    this.#limits = opened[0].limits;
    this.#platform = platform;
    this.#shaders = shaders;
    this.#ranks = ranks;
    this.#monitor = monitor;
    ranks.forEach((_, rank) => this.#watchDeath(rank));
  }

  /** Starts the ranks. Errors: InputError; NoAdapterError where WebGPU has no adapter; AbortError. */
  static async start(platform: Platform, options: ClusterOptions): Promise<Cluster> {
    validateOptions(options);
    options.signal?.throwIfAborted();
    const { ranks: size, backend = "webgpu", link, signal } = options;
    const shaders = replaced(await platform.shaders(), options.shaders);
    const monitor = new Monitor(size, options.timeout ?? DEFAULT_TIMEOUT, platform.compileSeconds);
    const ranks = meshPorts(size).map((ports, rank) => startRank(platform, { rank, size, backend, shaders, link, tune: tuneOf(options), ports }, monitor, signal));
    try {
      return new Cluster(platform, options, shaders, ranks, monitor, await Promise.all(ranks.map((r) => r.opened)));
    } catch (error) {
      await endRanks(ranks);
      throw error;
    }
  }

  async attend(input: AttendInput): Promise<AttendResult> {
    const turns = new Turns();
    validateAttend(input);
    return await this.exclusive(async () => {
      const { heads, kvHeads, headDim, sequences, wireDtype = "f32", causal = true } = input;
      const choice = input.variant === "auto" ? chooseVariant(this, { sequences, heads, kvHeads, headDim, wireDtype, rates: input.rates }) : undefined;
      const variant: Variant = choice?.variant ?? (input.variant as Variant | undefined) ?? "pass-kv";
      const shape = shapeOf(input, variant, wireDtype, causal);
      if (this.#limits !== undefined) requireRow(shape, variant, this.size, this.#limits);
      const blocks = shard(sequences, this.size);
      const { fault } = this.options;
      const { id, origin } = this.newJob();
      const halts = input.onHalt && haltPorts(this.size, input, input.onHalt, (reason) => this.#fail(reason));
      // One rank after the other, so that the thread is free in between; a rank begins as soon as it has its part.
      let turn: Promise<unknown> = Promise.resolve();
      const outcomes = await this.all(id, input, (rank, stopped) => {
        const answer = turn.then(async () => {
          await turns.next();
          const q = queryChunk(rank, blocks.queries[rank], input, shape);
          await turns.next();
          stopped.throwIfAborted();
          const kv = keyChunk(rank, blocks.keys[rank], input, shape);
          const port = halts?.ports[rank];
          const job: AttendJob = { id, origin, variant, shape, q, kv, fault: fault?.step === undefined ? fault : undefined, halt: port && { port, watch: halts!.watch } };
          return { outcome: this.service(rank).attend(Comlink.transfer(job, [q.data, kv.data, ...(port === undefined ? [] : [port])])) };
        });
        turn = answer;
        return answer.then(({ outcome }) => outcome);
      }, halts === undefined).finally(() => halts?.close());
      const total = now() - origin;
      const rows = sequences.reduce((sum, s) => sum + s.new, 0);
      const out = new Float32Array(rows * heads * headDim);
      const lse = new Float32Array(rows * heads);
      for (const [rank, { data }] of outcomes.entries()) {
        await turns.next();
        scatterResult(data, blocks.queries[rank], sequences, shape, out, lse);
      }
      return { out, lse, report: this.report(outcomes, { variant, choice, wireDtype, sequences, shape, total }) };
    });
  }

  /** Opens a conversation with a KV cache that stays on the ranks. Errors: InputError, LimitError, RankError. */
  async session(options: SessionOptions): Promise<Session> {
    const session = await this.exclusive(() => Session.open(this, this.#opened++, options));
    for (const s of this.#sessions) if (s.disposed) this.#sessions.delete(s);
    this.#sessions.add(session);
    return session;
  }

  /**
   * Replaces every rank that died, fell silent or lost its device, and gives it back what the sessions had cached there.
   * Resolves to the ranks replaced. Errors: as start's.
   */
  async repair(): Promise<number[]> {
    if (this.#disposed) throw new Error("the cluster was disposed");
    if (this.#busy) throw new InputError("repair: an experiment is running; expected none: await its end first");
    const ill = await Promise.all(this.#ranks.map(async ({ service }, rank) =>
      this.#dead.has(rank) || await Promise.race([service.ill().then((why) => why !== undefined, () => true), seconds(STOP_SECONDS).then(() => true)])));
    const replaced = ill.flatMap((yes, rank) => (yes ? [rank] : []));
    for (const rank of replaced) await this.#replace(rank);
    this.#broken = undefined;
    for (const session of this.#sessions) await session.reload(replaced);
    return replaced;
  }

  /** Ends every worker. What runs fails. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#break(new Error("the cluster was disposed"));
    await endRanks(this.#ranks.filter((_, rank) => !this.#dead.has(rank)));
    for (const { worker } of this.#ranks) worker.terminate();
  }

  /** One experiment or step at a time: runs `work` unless another is running or the cluster is broken. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#busy) throw new InputError("cluster: an experiment is running; expected one at a time: await it first");
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }

  service(rank: number): WorkerRank["service"] {
    return this.#ranks[rank].service;
  }

  newJob(): { id: number; origin: number } {
    return { id: this.#jobs++, origin: now() };
  }

  /** Calls every living rank; resolves when each has answered or a second has passed. Returns the ranks that did not. */
  async tell(call: (service: WorkerRank["service"], rank: number) => Promise<unknown>): Promise<number[]> {
    const late = new Set<number>(this.#ranks.keys());
    const told = this.#ranks.map(async ({ service }, rank) => {
      if (this.#dead.has(rank)) return;
      await call(service, rank).then(() => late.delete(rank), () => {});
    });
    await Promise.race([Promise.all(told), seconds(STOP_SECONDS)]);
    return [...late];
  }

  /**
   * Runs one job on every rank; at the first fault the others are told to stop, and the fault is thrown. `typical`: whether
   * its rates say something of later prefills (a decode's do not: its messages are all latency). `stopped` fires before
   * the ranks are told to stop: what was not given to a rank by then must not be.
   */
  async all(id: number, { signal, onProgress }: JobOptions, run: (rank: number, stopped: AbortSignal) => Promise<AttendOutcome>, typical = true): Promise<AttendOutcome[]> {
    signal?.throwIfAborted();
    this.#monitor.rest();
    const hops = this.size * this.size;
    let told = -1;
    const failed = new Promise<never>((_, reject) => (this.#fail = reject));
    const abort = () => this.#fail(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const watch = setInterval(() => {
      const fault = this.#monitor.check(id);
      if (fault !== undefined) this.#fail(fault);
      const done = this.#monitor.done(id);
      if (done !== told) onProgress?.((told = done), hops);
    }, WATCH);
    const stopped = new AbortController();
    const running = this.#ranks.map((_, rank) => run(rank, stopped.signal));
    try {
      const outcomes = await Promise.race([Promise.all(running), failed]);
      if (told !== hops) onProgress?.(hops, hops);
      if (typical) this.rates.add(outcomes.flatMap((o) => o.spans), this.size);
      return outcomes;
    } catch (error) {
      stopped.abort(error);
      for (const { service } of this.#ranks) service.cancel(id, "another rank failed, or the experiment was cancelled").catch(() => {});
      // The ranks that live stop at once; a cluster with one that does not cannot be used again.
      const settled = Promise.allSettled(running.filter((_, rank) => !this.#dead.has(rank))).then(() => true);
      if (!(await Promise.race([settled, seconds(STOP_SECONDS).then(() => false)]))) {
        this.#break(error instanceof RankError ? error : new Error("a rank did not stop when it was cancelled: repair the cluster, or dispose it and start another"));
      }
      throw error;
    } finally {
      clearInterval(watch);
      signal?.removeEventListener("abort", abort);
      this.#fail = () => {};
    }
  }

  /** The facts of a run. */
  report(outcomes: readonly AttendOutcome[], run: Pick<Report, "variant" | "wireDtype"> & { choice: Choice | undefined; sequences: AttendInput["sequences"]; shape: Shape; total: number }): Report {
    const { variant, choice, wireDtype, sequences, shape } = run;
    const { heads, kvHeads, headDim, causal, scale } = shape;
    const spans = outcomes.flatMap((o) => o.spans);
    return {
      adapter: this.adapter,
      backend: this.backend,
      runtime: this.#platform.runtime,
      kernel: sayKernels(outcomes.flatMap((o) => o.kernels), spans.some((s) => s.kind === "merge"), this.options.shaders),
      clock: this.backend === "webgpu" && this.#timestamps ? "gpu-timestamps" : "host",
      variant,
      ...(choice && { choice }),
      ranks: this.size,
      wireDtype,
      causal,
      scale,
      shape: { heads, kvHeads, headDim, sequences },
      link: this.options.link ?? null,
      perRank: outcomes.map((o) => o.traffic),
      times: timesOf(spans, run.total),
      spans,
    };
  }

  async #replace(rank: number): Promise<void> {
    const { backend, size } = this;
    this.#ranks[rank].worker.terminate();
    this.#ranks[rank].pulse.close();
    const ports = Array.from({ length: size }, (_, peer) => {
      if (peer === rank) return undefined;
      const { port1, port2 } = new MessageChannel();
      if (!this.#dead.has(peer)) this.#ranks[peer].service.connect(rank, Comlink.transfer(port2, [port2])).catch(() => {});
      return port1;
    });
    this.#ranks[rank] = startRank(this.#platform, { rank, size, backend, shaders: this.#shaders, link: this.options.link, tune: tuneOf(this.options), ports }, this.#monitor, undefined);
    this.#dead.delete(rank);
    this.#monitor.rest();
    await this.#ranks[rank].opened;
    this.#watchDeath(rank);
  }

  /** A worker that ends by itself: its neighbours are given a moment to say what they await of it. */
  #watchDeath(rank: number): void {
    const { worker } = this.#ranks[rank];
    worker.onDeath((how) => {
      if (this.#disposed || this.#ranks[rank].worker !== worker || this.#dead.has(rank)) return;
      this.#dead.add(rank);
      setTimeout(() => this.#break(this.#monitor.dead(rank, how)), DEATH_NOTICE);
    });
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#fail(error);
  }
}

/** What attention computes, with the wire type on the operand that travels. */
export function shapeOf(input: Pick<AttendInput, "heads" | "kvHeads" | "headDim" | "scale">, variant: Variant, wire: Shape["q"], causal: boolean): Shape {
  const { heads, kvHeads, headDim } = input;
  const scale = input.scale ?? 1 / Math.sqrt(headDim);
  return { heads, kvHeads, headDim, scale, causal, q: variant === "pass-q" ? wire : "f32", kv: variant === "pass-kv" ? wire : "f32" };
}

/** A kernel text that was given is to run, not to be passed over for a faster one. */
function tuneOf({ tune, shaders }: ClusterOptions): boolean | undefined {
  return tune ?? (Object.keys(shaders ?? {}).length === 0 ? undefined : false);
}

function validateOptions({ ranks, backend, link, timeout, fault }: ClusterOptions): void {
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > 64) throw new InputError(`ranks: found ${ranks}, expected a whole number from 1 to 64`);
  if (backend !== undefined && backend !== "webgpu" && backend !== "cpu") throw new InputError(`backend: found ${JSON.stringify(backend)}, expected "webgpu" or "cpu"`);
  if (link !== undefined && !(link.bandwidth > 0 && link.latency >= 0 && Number.isFinite(link.latency))) {
    throw new InputError(`link: found ${link.bandwidth} bytes/s and ${link.latency} s, expected a bandwidth above 0 and a latency of at least 0`);
  }
  if (timeout !== undefined && !(timeout > 0)) throw new InputError(`timeout: found ${timeout}, expected seconds above 0`);
  if (fault !== undefined && !(fault.rank >= 0 && fault.rank < ranks && fault.hop >= 0 && fault.hop < ranks)) {
    throw new InputError(`fault: found rank ${fault.rank}, hop ${fault.hop}, expected both from 0 to ${ranks - 1}`);
  }
}
