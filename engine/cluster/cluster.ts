/**
 * N ranks on a full mesh of message channels. They run one experiment at a time, and sessions whose KV caches stay on
 * the ranks.
 */
import * as Comlink from "comlink";
import type { DeviceLimits } from "../gpu/facts.ts";
import { replaced } from "../gpu/shaders.ts";
import { requireRow } from "../gpu/slice-rows.ts";
import { isLocal } from "../layout/mask.ts";
import type { AttendJob } from "../rank/job.ts";
import { shardsOf } from "../ring/tally.ts";
import { now } from "../trace/clock.ts";
import { haltPorts } from "./halts.ts";
import { validateRun } from "./link.ts";
import type { ClusterPlatform } from "./platform.ts";
import { Ranks } from "./ranks.ts";
import { chooseVariant, RateMeter } from "./rates.ts";
import { reportOf, type Shared } from "./report.ts";
import { keyChunk, queryChunk, scatterResult } from "./scatter.ts";
import { Session } from "./session.ts";
import { shapeOf } from "./shape.ts";
import { Turns } from "../turns.ts";
import type {
  AdapterFacts,
  AttendInput,
  AttendResult,
  Backend,
  ClusterFace,
  ClusterOptions,
  SessionOptions,
  Variant,
} from "./types.ts";
import { validateAttend, validateCluster } from "./validate.ts";

/** N ranks, each a worker with its own device. */
export class Cluster implements ClusterFace, Shared {
  readonly size: number;
  readonly adapter: AdapterFacts;
  readonly options: ClusterOptions;
  readonly backend: Backend;
  readonly runtime: string;
  readonly timestamps: boolean;
  readonly rates = new RateMeter();
  readonly ranks: Ranks;
  readonly #limits: DeviceLimits | undefined;
  readonly #sessions = new Set<Session>();
  #opened = 0;

  private constructor(platform: ClusterPlatform, options: ClusterOptions, ranks: Ranks) {
    const [{ adapter, limits }] = ranks.opened;
    this.size = ranks.size;
    this.adapter = adapter;
    this.options = options;
    this.backend = options.backend ?? "webgpu";
    this.runtime = platform.runtime;
    this.timestamps = ranks.opened.every((o) => o.timestamps);
    this.ranks = ranks;
    this.#limits = limits;
  }

  /** Starts the ranks. Errors: InputError; NoAdapterError if WebGPU has no adapter; RankError; AbortError. */
  static async start(platform: ClusterPlatform, options: ClusterOptions): Promise<Cluster> {
    validateCluster(options);
    const { ranks: size, backend = "webgpu", link, timeout, signal } = options;
    signal?.throwIfAborted();
    const shaders = replaced(await platform.shaders(), options.shaders);
    return new Cluster(
      platform,
      options,
      await Ranks.start(platform, size, { backend, shaders, link, tune: tuneOf(options) }, timeout, signal),
    );
  }

  async attend(input: AttendInput): Promise<AttendResult> {
    const turns = new Turns();
    validateAttend(input);
    return await this.ranks.exclusive("attend", async () => {
      const { heads, sequences, wireDtype = "f32", dealing = "head-tail", sinks } = input;
      const choice = input.variant === "auto" ? chooseVariant(this, { ...input, wireDtype }) : undefined;
      const variant: Variant = choice?.variant ?? (input.variant as Variant | undefined) ?? "pass-kv";
      const shape = shapeOf(input, variant, wireDtype);
      if (this.#limits !== undefined) requireRow(shape, variant, this.size, this.#limits);
      const tokens = {
        new: sequences.reduce((sum, s) => sum + s.new, 0),
        cached: sequences.reduce((sum, s) => sum + s.cached, 0),
      };
      validateRun({ ...input, variant }, tokens, this.size, this.options.link);
      const blocks = shardsOf(sequences, this.size, dealing);
      const shards = isLocal(shape.mask) ? blocks : undefined;
      const { fault } = this.options;
      const { id, origin } = this.ranks.newJob();
      const halts = input.onHalt && haltPorts(this.size, input, input.onHalt, (reason) => this.ranks.fail(reason));
      // One rank at a time, so that the thread is free in between.
      let turn: Promise<unknown> = Promise.resolve();
      const outcomes = await this.ranks.run(id, input, (rank, stopped) => {
        const answer = turn.then(async () => {
          await turns.next();
          const q = queryChunk(rank, blocks.queries[rank], input, shape);
          await turns.next();
          stopped.throwIfAborted();
          const kv = keyChunk(rank, blocks.keys[rank], input, shape);
          const port = halts?.ports[rank];
          const job: AttendJob = {
            id,
            origin,
            variant,
            shape,
            q,
            kv,
            shards,
            sinks,
            fault: fault?.step === undefined ? fault : undefined,
            halt: port && { port, watch: halts!.watch },
          };
          return {
            outcome: this.ranks.service(rank).attend(
              Comlink.transfer(job, [q.data, kv.data, ...(port === undefined ? [] : [port])]),
            ),
          };
        });
        turn = answer;
        return answer.then(({ outcome }) => outcome);
      }).finally(() => halts?.close());
      if (halts === undefined) this.rates.add(outcomes.flatMap((o) => o.spans), this.size);
      const total = now() - origin;
      const rows = sequences.reduce((sum, s) => sum + s.new, 0);
      const out = new Float32Array(rows * heads * shape.valueDim);
      const lse = new Float32Array(rows * heads);
      for (const [rank, { data }] of outcomes.entries()) {
        await turns.next();
        scatterResult(data, blocks.queries[rank], sequences, shape, out, lse);
      }
      return {
        out,
        lse,
        report: reportOf(this, outcomes, { variant, choice, wireDtype, sequences, shape, dealing, sinks, total }),
      };
    }, input.signal);
  }

  /** Opens a conversation with a KV cache that stays on the ranks. Errors: InputError, LimitError, RankError. */
  async session(options: SessionOptions): Promise<Session> {
    return await this.ranks.exclusive("session", async () => {
      const session = await Session.open(this, this.#opened++, options);
      for (const s of this.#sessions) if (s.disposed) this.#sessions.delete(s);
      this.#sessions.add(session);
      return session;
    });
  }

  /**
   * Replaces every rank that died, fell silent or lost its device, and restores what the sessions had cached there.
   * Nothing else begins before it has ended. Resolves to the ranks replaced. Errors: those of start.
   */
  async repair(): Promise<number[]> {
    return await this.ranks.repair(async (replaced) => {
      for (const session of this.#sessions) await session.refill(replaced);
    });
  }

  /** Ends every worker, however long that takes while kernels compile. Work under way fails with an AbortError. */
  async dispose(): Promise<void> {
    await this.ranks.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** A kernel text that the caller gave must run, even if another kernel is faster. */
function tuneOf({ tune, shaders }: ClusterOptions): boolean | undefined {
  return tune ?? (Object.keys(shaders ?? {}).length === 0 ? undefined : false);
}
