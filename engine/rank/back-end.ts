/** The back-end that one rank computes on: a GPU, or plain TypeScript. A rank's only place that tells the two apart. */
import { CpuAttention } from "../cpu/attention.ts";
import { CpuPagePool } from "../cpu/page-pool.ts";
import { GpuAttention } from "../gpu/attention.ts";
import { type Gpu, openDevice } from "../gpu/device.ts";
import { GpuPagePool } from "../gpu/page-pool.ts";
import { Kernels } from "../gpu/pipelines.ts";
import { Pool } from "../gpu/pool.ts";
import { type SliceRows, sliceRows } from "../gpu/slice-rows.ts";
import type { PagePool } from "../layout/page-pool.ts";
import type { Shape } from "../ring/chunk.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import type { Recorder } from "../trace/clock.ts";
import type { AttendJob, Opened, RankSetup } from "./job.ts";
import type { Device } from "./run.ts";

/** A runtime's WebGPU on a rank's own thread. */
export interface RankGpu {
  /** The runtime's WebGPU; undefined if it has none. */
  gpu(): GPU | undefined | Promise<GPU>;
  /** Awaits a device's answer. */
  readonly wait?: Gpu["wait"];
  /** Whether pipelines compile on the worker's own thread (see Kernels). */
  readonly blockingCompile: boolean;
}

// deno-lint-ignore no-explicit-any -- each back-end has its own handles
export type AnyDevice = Device<any, any, any>;

/** Milliseconds in which a lost device reports its loss. */
const LOSS_NOTICE = 100;
/** Milliseconds to wait for a lost device's answers: it may owe them for ever. */
const OWING = 3000;

/** An open back-end. */
export class BackEnd {
  /** What the rank tells about it. */
  readonly opened: Opened;
  readonly #gpu: { readonly gpu: Gpu; readonly kernels: Kernels; readonly pool: Pool } | undefined;

  private constructor(opened: Opened, gpu?: Gpu, kernels?: Kernels) {
    this.opened = opened;
    this.#gpu = gpu && { gpu, kernels: kernels!, pool: new Pool(gpu.device) };
  }

  /**
   * Opens the back-end of `setup`. Calls `onError` with an error of the device that no call rejects with, and `onLost`
   * once if the device is lost. Errors: NoAdapterError if WebGPU has no adapter.
   */
  static async open(
    setup: RankSetup,
    runtime: RankGpu,
    onError: (what: string) => void,
    onLost: (what: string) => void,
  ): Promise<BackEnd> {
    if (setup.backend === "cpu") {
      const name = "none: plain TypeScript on the CPU";
      const adapter = { name, vendor: "", architecture: "", description: "", software: true, features: [] };
      return new BackEnd({ adapter, timestamps: false, limits: undefined });
    }
    const gpu = await openDevice(await runtime.gpu(), runtime.wait);
    const { device, facts: adapter, timestamps, limits } = gpu;
    const kernels = new Kernels(gpu, setup.shaders, runtime.blockingCompile, setup.tune ?? !adapter.software);
    device.onuncapturederror = ({ error }) => onError(sayGpuError(error));
    device.lost.then(({ reason, message }) =>
      onLost(`its GPU device was lost (${reason}${message && `: ${message}`})`)
    );
    return new BackEnd({ adapter, timestamps, limits }, gpu, kernels);
  }

  /** One attention. */
  attention(shape: Shape, recorder: Recorder): AnyDevice {
    return this.#gpu === undefined
      ? new CpuAttention(shape, recorder)
      : new GpuAttention(this.#gpu.gpu, this.#gpu.kernels, this.#gpu.pool, shape, recorder);
  }

  /** Room for a cache: `widths` elements in a row of K, and of V if it isn't part of K. Errors: LimitError. */
  pagePool(pages: number, widths: readonly number[], dtype: DType): PagePool<unknown> {
    return this.#gpu === undefined
      ? new CpuPagePool(pages, widths, dtype)
      : new GpuPagePool(this.#gpu.gpu, pages, widths.map((width) => width * bytesPer(dtype))) as PagePool<unknown>;
  }

  /** Rows of the slices that a job on `size` ranks needs; undefined if its chunks fit the device's buffers. */
  sliceRows({ shape, variant, kv }: AttendJob, size: number): SliceRows | undefined {
    return this.#gpu && sliceRows(shape, variant, size, kv.block, this.#gpu.gpu.limits);
  }

  /** Seconds spent on compiling so far. */
  get compileSeconds(): number {
    return this.#gpu?.kernels.compileSeconds ?? 0;
  }

  /** Buffers and bytes that the device's pool holds now. */
  get held(): { readonly buffers: number; readonly bytes: number } {
    return { buffers: this.#gpu?.pool.count ?? 0, bytes: this.#gpu?.pool.bytes ?? 0 };
  }

  /** Loses the device on purpose. */
  lose(): void {
    this.#gpu?.gpu.device.destroy();
  }

  /** Gives a lost device the time to report its loss: in Deno, calls on it fail earlier. */
  async lossReported(): Promise<void> {
    if (this.#gpu !== undefined) await Promise.race([this.#gpu.gpu.device.lost, after(LOSS_NOTICE)]);
  }

  /** Gives back all that the pool holds. */
  destroyPool(): void {
    this.#gpu?.pool.destroy();
  }

  /** Ends the device. A worker thread in Node that ends while Dawn owes it an answer takes the process down. */
  async end(): Promise<void> {
    if (this.#gpu === undefined) return;
    const { gpu, kernels } = this.#gpu;
    gpu.device.destroy();
    await gpu.device.lost;
    await Promise.race([gpu.answered(), owing()]);
    await kernels.settled();
  }
}

/** Resolves when a lost device need not be waited for any longer. */
export function owing(): Promise<void> {
  return after(OWING);
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** An error of the GPU, and what to do if it has no memory left. Node has no global name for its class. */
function sayGpuError(error: GPUError): string {
  return error.constructor.name === "GPUOutOfMemoryError"
    ? "the GPU has too little memory left for this experiment: take fewer tokens, or end what else uses it " +
      `(${error.message})`
    : `the GPU refused: ${error.message}`;
}
