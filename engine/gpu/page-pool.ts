/** Pages of keys and values in a GPU's memory. */
import type { Copy, PagePool } from "../layout/page-pool.ts";
import { PAGE, type Segment } from "../layout/pages.ts";
import { type Gpu, requireStorage } from "./device.ts";
import type { GpuKeys } from "./operands.ts";
import { COPY_DST, COPY_SRC, MAP_READ, READ, STORAGE } from "./usage.ts";

/** Two buffers of pages, and one for the page table of the view in use. */
export class GpuPagePool implements PagePool<GpuKeys> {
  readonly #gpu: Gpu;
  readonly #rowBytes: number;
  readonly #k: GPUBuffer;
  readonly #v: GPUBuffer;
  readonly #table: GPUBuffer;
  #staging: GPUBuffer | undefined;

  /** `rowBytes`: bytes of a row of K. Errors: LimitError if the pool is larger than the device allows. */
  constructor(gpu: Gpu, pages: number, rowBytes: number) {
    const size = Math.max(16, pages * PAGE * rowBytes);
    requireStorage(gpu.limits, size, (have) => Math.floor(have / rowBytes));
    this.#gpu = gpu;
    this.#rowBytes = rowBytes;
    const usage = STORAGE | COPY_DST | COPY_SRC;
    this.#k = gpu.device.createBuffer({ label: "cached keys", size, usage });
    this.#v = gpu.device.createBuffer({ label: "cached values", size, usage });
    this.#table = gpu.device.createBuffer({
      label: "page table",
      size: Math.max(16, pages * 4),
      usage: STORAGE | COPY_DST,
    });
  }

  write(segments: readonly Segment[], data: ArrayBuffer, rows: number): void {
    const { queue } = this.#gpu.device;
    for (const { row, from, count } of segments) {
      queue.writeBuffer(this.#k, row * this.#rowBytes, data, from * this.#rowBytes, count * this.#rowBytes);
      queue.writeBuffer(this.#v, row * this.#rowBytes, data, (rows + from) * this.#rowBytes, count * this.#rowBytes);
    }
  }

  async read(copies: readonly Copy[], rows: number): Promise<ArrayBuffer> {
    const bytes = 2 * rows * this.#rowBytes;
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
    for (const { row, to, count } of copies) {
      encoder.copyBufferToBuffer(this.#k, row * this.#rowBytes, staging, to * this.#rowBytes, count * this.#rowBytes);
      encoder.copyBufferToBuffer(
        this.#v,
        row * this.#rowBytes,
        staging,
        (rows + to) * this.#rowBytes,
        count * this.#rowBytes,
      );
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
    return { block, owner, k: { buffer: this.#k }, v: { buffer: this.#v }, pages: this.#table };
  }

  destroy(): void {
    for (const b of [this.#k, this.#v, this.#table, this.#staging]) b?.destroy();
  }
}
