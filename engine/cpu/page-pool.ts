/** Pages of keys and values in this thread's memory. */
import type { Copy, PagePool } from "../layout/page-pool.ts";
import { PAGE, type Segment } from "../layout/pages.ts";
import type { DType } from "../tensor/dtype.ts";
import { bytesPer, fromBytes } from "../tensor/dtype.ts";
import type { CpuKeys } from "./attention.ts";

/** The stored bytes, for messages, and their values, for attention. */
export class CpuPagePool implements PagePool<CpuKeys> {
  readonly #dtype: DType;
  readonly #rowBytes: number;
  readonly #width: number;
  readonly #stored: { readonly k: Uint8Array; readonly v: Uint8Array };
  readonly #values: { readonly k: Float32Array; readonly v: Float32Array };

  /** `width`: elements of one row of K. */
  constructor(pages: number, width: number, dtype: DType) {
    const rows = pages * PAGE;
    this.#dtype = dtype;
    this.#width = width;
    this.#rowBytes = width * bytesPer(dtype);
    this.#stored = { k: new Uint8Array(rows * this.#rowBytes), v: new Uint8Array(rows * this.#rowBytes) };
    this.#values = { k: new Float32Array(rows * width), v: new Float32Array(rows * width) };
  }

  write(segments: readonly Segment[], data: ArrayBuffer, rows: number): void {
    for (const { row, from, count } of segments) {
      for (const [which, at] of [["k", from], ["v", rows + from]] as const) {
        this.#stored[which].set(
          new Uint8Array(data, at * this.#rowBytes, count * this.#rowBytes),
          row * this.#rowBytes,
        );
        this.#values[which].set(
          fromBytes(data, this.#dtype, at * this.#rowBytes, count * this.#width),
          row * this.#width,
        );
      }
    }
  }

  read(copies: readonly Copy[], rows: number): Promise<ArrayBuffer> {
    const out = new Uint8Array(2 * rows * this.#rowBytes);
    for (const { row, to, count } of copies) {
      for (const [which, at] of [["k", to], ["v", rows + to]] as const) {
        out.set(
          this.#stored[which].subarray(row * this.#rowBytes, (row + count) * this.#rowBytes),
          at * this.#rowBytes,
        );
      }
    }
    return Promise.resolve(out.buffer);
  }

  keys(owner: number, { block, table }: Parameters<PagePool<CpuKeys>["keys"]>[1]): CpuKeys {
    return { block, owner, ...this.#values, pages: table };
  }

  destroy(): void {}
}
