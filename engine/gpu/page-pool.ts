/** Pages of keys and values in a GPU's memory. */
import type { Copy, PagePool } from "../layout/page-pool.ts";
import { PAGE, type Segment } from "../layout/pages.ts";
import { type Gpu, requireStorage } from "./device.ts";
import type { GpuKeys } from "./operands.ts";
import { COPY_DST, COPY_SRC, MAP_READ, READ, STORAGE } from "./usage.ts";

/** Buffers of pages, of K and of V if it isn't part of K, and one for the page table of the view in use. */
export class GpuPagePool implements PagePool<GpuKeys> {
  readonly #gpu: Gpu;
  readonly #rowBytes: readonly number[];
  readonly #stored: readonly GPUBuffer[];
  readonly #table: GPUBuffer;
  #staging: GPUBuffer | undefined;

  /**
   * `rowBytes`: bytes of a row of K, and of V if it isn't part of K. Errors: LimitError if the pool is larger than the
   * device allows.
   */
  constructor(gpu: Gpu, pages: number, rowBytes: readonly number[]) {
    const most = Math.max(...rowBytes);
    requireStorage(gpu.limits, Math.max(16, pages * PAGE * most), (have) => Math.floor(have / most));
    this.#gpu = gpu;
    this.#rowBytes = rowBytes;
    const usage = STORAGE | COPY_DST | COPY_SRC;
    this.#stored = rowBytes.map((bytes, i) =>
      gpu.device.createBuffer({
        label: i === 0 ? "cached keys" : "cached values",
        size: Math.max(16, pages * PAGE * bytes),
        usage,
      })
    );
    this.#table = gpu.device.createBuffer({
      label: "page table",
      size: Math.max(16, pages * 4),
      usage: STORAGE | COPY_DST,
    });
  }

  write(segments: readonly Segment[], data: ArrayBuffer, rows: number): void {
    const { queue } = this.#gpu.device;
    let begin = 0;
    for (const [i, bytes] of this.#rowBytes.entries()) {
      for (const { row, from, count } of segments) {
        queue.writeBuffer(this.#stored[i], row * bytes, data, begin + from * bytes, count * bytes);
      }
      begin += rows * bytes;
    }
  }

  async read(copies: readonly Copy[], rows: number): Promise<ArrayBuffer> {
    const bytes = rows * this.#rowBytes.reduce((sum, width) => sum + width, 0);
    if (bytes === 0) return new ArrayBuffer(0);
    // Nobody else may have it while it is mapped. A step that is cancelled in between leaves it behind.
    const kept = this.#staging;
    this.#staging = undefined;
    if (kept !== undefined && kept.size < bytes) kept.destroy();
    const staging = kept !== undefined && kept.size >= bytes
      ? kept
      : this.#gpu.device.createBuffer({ size: 2 ** Math.ceil(Math.log2(bytes)), usage: MAP_READ | COPY_DST });
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.clearBuffer(staging, 0, bytes);
    let begin = 0;
    for (const [i, width] of this.#rowBytes.entries()) {
      for (const { row, to, count } of copies) {
        encoder.copyBufferToBuffer(this.#stored[i], row * width, staging, begin + to * width, count * width);
      }
      begin += rows * width;
    }
    this.#gpu.device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, bytes));
    const data = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    this.#staging = staging;
    return data;
  }

  keys(owner: number, { block, table }: Parameters<PagePool<GpuKeys>["keys"]>[1]): GpuKeys {
    if (table.length > 0) this.#gpu.device.queue.writeBuffer(this.#table, 0, table);
    const [k, v = k] = this.#stored;
    return { block, owner, k: { buffer: k }, v: { buffer: v }, pages: this.#table };
  }

  destroy(): void {
    for (const b of [...this.#stored, this.#table, this.#staging]) b?.destroy();
  }
}
