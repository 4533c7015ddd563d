/** A job under way on a rank: it compiles, waits for leave to begin, runs its program, and can end early. */
import * as Comlink from "comlink";
import type { Block } from "../layout/shards.ts";
import { requireFinite } from "../reference/finite.ts";
import { mergeSinks, outcomeOf } from "../ring/chunk.ts";
import { Recorder } from "../trace/clock.ts";
import type { AnyDevice, BackEnd } from "./back-end.ts";
import { deferred } from "./deferred.ts";
import type { AttendOutcome, Fault, Job, Pulse } from "./job.ts";
import type { LeavePort } from "./leave.ts";
import type { Mesh } from "./mesh.ts";
import { MeshRing } from "./mesh-ring.ts";
import { exposedWaits } from "./run.ts";

/** What a job needs of its rank. */
export interface RankParts {
  readonly mesh: Mesh;
  readonly backEnd: BackEnd;
  /** Called when the job's phase, hop or hops done change. */
  readonly onChange: () => void;
  /** Lets a planned fault strike; resolves if the rank goes on. */
  readonly strike: (kind: Fault["kind"]) => Promise<void>;
}

/** A job from its first compilation to its outcome. */
export class RunningJob {
  readonly id: number;
  readonly ring: MeshRing;
  phase: Pulse["phase"] = "upload";
  hop = 0;
  /** Hops whose attention is done. */
  done = 0;
  readonly #job: Job;
  readonly #rank: RankParts;
  readonly #device: AnyDevice;
  readonly #recorder: Recorder;
  readonly #leave: LeavePort | undefined;
  readonly #failed = deferred<never>();
  readonly #go = deferred<void>();
  readonly #over = deferred<void>();
  #work: Promise<ArrayBuffer> | undefined;

  /** `fitting` wraps the device, so that its operands fit. `leave`: the port of a job that halts. */
  constructor(job: Job, rank: RankParts, fitting: (device: AnyDevice) => AnyDevice, leave?: LeavePort) {
    const { mesh, backEnd, strike } = rank;
    const { id, fault } = job;
    this.id = id;
    this.#job = job;
    this.#rank = rank;
    this.#leave = leave;
    this.#recorder = new Recorder(mesh.rank, job.origin);
    this.#device = fitting(backEnd.attention(job.shape, this.#recorder));
    const planned = fault?.rank === mesh.rank ? { fault, strike: () => strike(fault.kind) } : undefined;
    this.ring = new MeshRing(mesh, job, this.#recorder, planned);
    this.#recorder.onBegin = (phase, hop) => {
      if (phase === "attend") this.done = hop;
      this.at(phase, hop);
    };
    this.#failed.promise.catch((reason) => {
      mesh.traffic(id).box.fail(reason);
      leave?.fail(reason);
      this.#device.abandon(reason);
    });
  }

  /** Notes what the job is doing. */
  at(phase: Pulse["phase"], hop: number): void {
    Object.assign(this, { phase, hop });
    this.#rank.onChange();
  }

  /** Ends the job at what it waits for. */
  fail(reason: unknown): void {
    this.#failed.reject(reason);
  }

  /** Lets it begin: every rank has compiled. */
  go(): void {
    this.#go.resolve();
  }

  /** A message of this job came or went. */
  onMail(): void {
    this.#leave?.tell(this.ring.mail);
  }

  /** Resolves once nothing of the job is under way. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Compiles for the keys that `load` gives, then runs `program`. Rejects with its error, or what `fail` was given. */
  async run(
    load: () => Block,
    program: (ring: MeshRing, device: AnyDevice) => Promise<ArrayBuffer>,
  ): Promise<AttendOutcome> {
    const { mesh, backEnd, onChange } = this.#rank;
    const compileBefore = backEnd.compileSeconds;
    this.#work = this.#compute(load, program);
    const data = await Promise.race([this.#work, this.#failed.promise]);
    this.done = mesh.size;
    onChange();
    const { spans } = this.#recorder;
    const outcome: AttendOutcome = {
      data,
      spans: [...spans, ...exposedWaits(spans)],
      traffic: this.ring.traffic,
      compileSeconds: backEnd.compileSeconds - compileBefore,
      kernels: this.#device.used,
    };
    return Comlink.transfer(outcome, [data]);
  }

  async #compute(
    load: () => Block,
    program: (ring: MeshRing, device: AnyDevice) => Promise<ArrayBuffer>,
  ): Promise<ArrayBuffer> {
    const { q: { block: queries }, variant } = this.#job;
    const { size, rank } = this.#rank.mesh;
    const device = this.#device;
    let data: ArrayBuffer | undefined;
    try {
      const keys = load();
      await device.prepare({ queries, keys, hops: size, parts: variant === "pass-q" ? size : 1 });
      if (size > 1) {
        const start = this.#recorder.begin("barrier", 0);
        await Promise.race([this.#go.promise, this.#failed.promise]);
        this.#recorder.add("device", "barrier", 0, start);
      }
      data = await program(this.ring, device);
      await this.ring.flushed();
      if (this.#job.sinks !== undefined) mergeSinks(data, this.#job.shape, this.#job.sinks);
      requireFiniteRows(rank, data, this.#job);
      return data;
    } finally {
      device.dispose(data === undefined);
    }
  }

  /** Resolves once the program has ended, whatever its end. */
  async ended(): Promise<void> {
    await this.#work?.catch(() => {});
  }

  /** Forgets the job's messages. */
  end(): void {
    this.#rank.mesh.end(this.id);
    this.#leave?.close();
    this.#over.resolve();
  }
}

/** Throws RankError if a row of O or LSE is not finite. Padding rows don't count. */
function requireFiniteRows(rank: number, data: ArrayBuffer, { q: { block }, shape }: Job): void {
  const { o, lse, width } = outcomeOf(data, shape);
  for (const { row, length } of block.runs) {
    const end = row + length;
    requireFinite(
      rank,
      o.subarray(row * width, end * width),
      lse.subarray(row * shape.heads, end * shape.heads),
    );
  }
}
