/** Pages of keys and values in this thread's memory. */
import type { Copy, PagePool } from "../layout/page-pool.ts";
import { PAGE, type Segment } from "../layout/pages.ts";
import type { DType } from "../tensor/dtype.ts";
import { bytesPer, fromBytes } from "../tensor/dtype.ts";
import type { CpuKeys } from "./attention.ts";

/** The stored bytes, for messages, and their values, for attention. */
export class CpuPagePool implements PagePool<CpuKeys> {
  readonly #dtype: DType;
  /** Elements of a row of K, and of V if it isn't part of K. */
  readonly #widths: readonly number[];
  readonly #stored: readonly Uint8Array[];
  readonly #values: readonly Float32Array[];

  /** `widths`: elements of one row of K, and of V if it isn't part of K. */
  constructor(pages: number, widths: readonly number[], dtype: DType) {
    const rows = pages * PAGE;
    this.#dtype = dtype;
    this.#widths = widths;
    this.#stored = widths.map((width) => new Uint8Array(rows * width * bytesPer(dtype)));
    this.#values = widths.map((width) => new Float32Array(rows * width));
  }

  write(segments: readonly Segment[], data: ArrayBuffer, rows: number): void {
    for (const { row, from, count } of segments) {
      let begin = 0;
      for (const [i, width] of this.#widths.entries()) {
        const bytes = width * bytesPer(this.#dtype);
        const at = begin + from * bytes;
        this.#stored[i].set(new Uint8Array(data, at, count * bytes), row * bytes);
        this.#values[i].set(fromBytes(data, this.#dtype, at, count * width), row * width);
        begin += rows * bytes;
      }
    }
  }

  read(copies: readonly Copy[], rows: number): Promise<ArrayBuffer> {
    const widths = this.#widths.map((width) => width * bytesPer(this.#dtype));
    const out = new Uint8Array(rows * widths.reduce((sum, width) => sum + width, 0));
    let begin = 0;
    for (const [i, width] of widths.entries()) {
      for (const { row, to, count } of copies) {
        out.set(this.#stored[i].subarray(row * width, (row + count) * width), begin + to * width);
      }
      begin += rows * width;
    }
    return Promise.resolve(out.buffer);
  }

  keys(owner: number, { block, table }: Parameters<PagePool<CpuKeys>["keys"]>[1]): CpuKeys {
    const [k, v = k] = this.#values;
    return { block, owner, k, v, pages: table };
  }

  destroy(): void {}
}
