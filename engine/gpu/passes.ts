/** Submissions to the device: each one compute pass, with the time it took on the shared clock. */
import { now, type Recorder } from "../trace/clock.ts";
import { type Buffers, OUTPUT } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Kernels } from "./pipelines.ts";
import { COPY_DST, COPY_SRC, MAP_READ, QUERY_RESOLVE, READ, UNIFORM } from "./usage.ts";

/** One dispatch of a pass. */
export interface Dispatch {
  readonly bindings: readonly (GPUBuffer | GPUBufferBinding)[];
  readonly groups: readonly [number, number, number];
}

/** One submission. */
export interface Pass {
  readonly pipeline: GPUComputePipeline;
  readonly dispatches: readonly Dispatch[];
  /** When the host began it, on the shared clock in seconds: the device can't have begun before. */
  readonly start: number;
  /** Adds commands before the pass. */
  readonly before?: ((encoder: GPUCommandEncoder) => void) | undefined;
}

/** When a pass began, on the shared clock, and how long it took; seconds. */
export interface PassTime {
  readonly start: number;
  readonly duration: number;
}

/** Words of a buffer for a dispatch that computes nothing. */
const NOTHING = 256;

/** The passes of one experiment on one device. */
export class Passes {
  readonly #gpu: Gpu;
  readonly #kernels: Kernels;
  readonly #buffers: Buffers;
  readonly #recorder: Recorder;
  #ticks: { readonly set: GPUQuerySet; readonly resolved: GPUBuffer } | undefined;
  /** Smallest difference seen between the host's clock and the device's at the end of a pass, in seconds. */
  #clockOffset = Infinity;
  /** When the host saw the last pass end. Without timestamps, the next pass counts from there at the earliest. */
  #lastDone = 0;

  constructor(gpu: Gpu, kernels: Kernels, buffers: Buffers, recorder: Recorder) {
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#buffers = buffers;
    this.#recorder = recorder;
    if (gpu.timestamps) {
      this.#ticks = {
        set: gpu.device.createQuerySet({ type: "timestamp", count: 2 }),
        resolved: buffers.take(16, QUERY_RESOLVE | COPY_SRC),
      };
    }
  }

  /** A pipeline; a span if it had to be compiled. Errors: the reason, if the experiment was abandoned. */
  async compiled(hop: number, pipeline: () => Promise<GPUComputePipeline>): Promise<GPUComputePipeline> {
    this.#buffers.requireWanted();
    const start = this.#recorder.begin("compile", hop);
    const before = this.#kernels.compileSeconds;
    const compiled = await pipeline();
    if (this.#kernels.compileSeconds > before) this.#recorder.add("host", "compile", hop, start);
    return compiled;
  }

  /**
   * Compiles a pipeline and dispatches it once, on `count` buffers of zeros: some drivers (lavapipe) compile at the
   * first dispatch.
   */
  async prepare(
    get: () => Promise<GPUComputePipeline>,
    params: Uint32Array<ArrayBuffer>,
    count: number,
  ): Promise<void> {
    const pipeline = await this.compiled(0, get);
    if (this.#kernels.ran.has(pipeline)) return;
    const start = this.#recorder.begin("compile", 0);
    const nothing = Array.from({ length: count }, () => this.#buffers.upload(new Uint32Array(NOTHING), OUTPUT));
    const uniform = this.#buffers.upload(params, UNIFORM | COPY_DST);
    await this.run({ pipeline, dispatches: [{ bindings: [uniform, ...nothing], groups: [1, 1, 1] }], start });
    this.#recorder.add("host", "compile", 0, start);
    this.#buffers.give(uniform, ...nothing);
  }

  /** Submits a pass. Resolves when the device has done it. */
  async run({ pipeline, dispatches, start, before }: Pass): Promise<PassTime> {
    const { device } = this.#gpu;
    const encoder = device.createCommandEncoder();
    before?.(encoder);
    const ticks = this.#ticks;
    const pass = encoder.beginComputePass(
      ticks && { timestampWrites: { querySet: ticks.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    pass.setPipeline(pipeline);
    for (const { bindings, groups } of dispatches) {
      const entries = bindings.map((b, binding) => ({ binding, resource: "buffer" in b ? b : { buffer: b } }));
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
      if (groups[0] > 0) pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    if (ticks === undefined) {
      device.queue.submit([encoder.finish()]);
      await this.#gpu.wait(device.queue.onSubmittedWorkDone());
      this.#kernels.ran.add(pipeline);
      const began = Math.max(start, this.#lastDone);
      this.#lastDone = now();
      return { start: began, duration: this.#lastDone - began };
    }
    const staging = this.#buffers.take(16, MAP_READ | COPY_DST);
    encoder.resolveQuerySet(ticks.set, 0, 2, ticks.resolved, 0);
    encoder.copyBufferToBuffer(ticks.resolved, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, 16));
    const done = now();
    this.#kernels.ran.add(pipeline);
    const [begin, end] = new BigUint64Array(staging.getMappedRange(0, 16).slice(0));
    staging.unmap();
    this.#buffers.give(staging);
    const duration = Number(end - begin) / 1e9;
    this.#clockOffset = Math.min(this.#clockOffset, done - Number(end) / 1e9);
    return {
      start: Math.max(start, Number(begin) / 1e9 + this.#clockOffset),
      duration: Math.max(0, duration),
    };
  }

  /** Destroys the query set. */
  end(): void {
    this.#ticks?.set.destroy();
    this.#ticks = undefined;
  }
}
