/** The buffers of one experiment: taken from the device's pool, filled, and given back at the end. */
import { type Gpu, requireStorage } from "./device.ts";
import type { Pool } from "./pool.ts";
import { COPY_DST, COPY_SRC, STORAGE } from "./usage.ts";

/** Usage of buffers that kernels read. */
export const INPUT = STORAGE | COPY_DST;
/** Usage of buffers that kernels write, and that may be copied or read back. */
export const OUTPUT = STORAGE | COPY_SRC | COPY_DST;

/** What one experiment holds on one device. */
export class Buffers {
  readonly #gpu: Gpu;
  readonly #pool: Pool;
  readonly #held = new Set<GPUBuffer>();
  #ended = false;
  #abandoned: { readonly reason: unknown } | undefined;

  constructor(gpu: Gpu, pool: Pool) {
    this.#gpu = gpu;
    this.#pool = pool;
  }

  /** A buffer of at least `bytes`. Errors: the reason, if the experiment was abandoned; Error after its end. */
  take(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.requireWanted();
    if (this.#ended) throw new Error("the experiment has ended");
    const buffer = this.#pool.take(bytes, usage);
    this.#held.add(buffer);
    return buffer;
  }

  /** A buffer that holds `data`. */
  upload(data: Uint32Array<ArrayBuffer>, usage: GPUBufferUsageFlags): GPUBuffer {
    const buffer = this.take(data.byteLength, usage);
    this.write(buffer, 0, data.buffer, 0, data.byteLength);
    return buffer;
  }

  /** Writes `bytes` of `data`, from `from` on, to a buffer at `at`. Deno 2.9 panics at a write of no bytes. */
  write(to: GPUBuffer, at: number, data: ArrayBuffer, from: number, bytes: number): void {
    if (bytes > 0) this.#gpu.device.queue.writeBuffer(to, at, data, from, bytes);
  }

  /** Gives buffers back to the pool. */
  give(...buffers: readonly GPUBuffer[]): void {
    if (this.#ended) return;
    for (const b of buffers) this.#held.delete(b);
    this.#pool.give(...buffers);
  }

  /** Throws LimitError if `rows` rows of `bytes` bytes in all don't fit in a storage buffer of the device. */
  require(bytes: number, rows: number): void {
    requireStorage(this.#gpu.limits, bytes, (have) => Math.floor((have / Math.max(1, bytes)) * rows));
  }

  /** Throws the reason if the experiment was abandoned. */
  requireWanted(): void {
    if (this.#abandoned !== undefined) throw this.#abandoned.reason;
  }

  /** From now on, taking a buffer throws `reason`. */
  abandon(reason: unknown): void {
    this.#abandoned ??= { reason };
  }

  /**
   * Ends the experiment. Its buffers go back to the pool. If it failed, the device may still be using them, so the pool
   * drops them.
   */
  end(failed: boolean): void {
    if (this.#ended) return;
    if (failed) this.#pool.drop(...this.#held);
    else this.#pool.give(...this.#held);
    this.#held.clear();
    this.#ended = true;
  }
}
