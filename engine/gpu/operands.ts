/** Queries, keys and values of one experiment on the device, as they arrive hop by hop. */
import { PAGE } from "../layout/pages.ts";
import type { Block } from "../layout/shards.ts";
import { type RankChunk, rowBytes, type Shape } from "../ring/chunk.ts";
import { now, type Recorder } from "../trace/clock.ts";
import { type Buffers, INPUT } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { KEYS_STEP } from "./slice-rows.ts";
import { aligned } from "./tiling.ts";

/** Queries on the device. */
export interface GpuQueries {
  readonly block: Block;
  readonly owner: number;
  readonly buffer: GPUBuffer;
}

/** Keys and values on the device, in pages (see attend.wgsl). The block counts rows through the page table. */
export interface GpuKeys {
  readonly block: Block;
  readonly owner: number;
  readonly k: GPUBufferBinding;
  readonly v: GPUBufferBinding;
  readonly pages: GPUBuffer;
}

/** A buffer that holds what was loaded for a hop. */
interface Arrival {
  readonly hop: number;
  readonly buffer: GPUBuffer;
}

/** Loads the operands of one experiment. */
export class Operands {
  readonly #gpu: Gpu;
  readonly #buffers: Buffers;
  readonly #shape: Shape;
  readonly #recorder: Recorder;
  readonly #arrivals = { queries: [] as Arrival[], keys: [] as Arrival[] };
  #ordered: { readonly pages: number; readonly table: GPUBuffer } | undefined;

  constructor(gpu: Gpu, buffers: Buffers, shape: Shape, recorder: Recorder) {
    this.#gpu = gpu;
    this.#buffers = buffers;
    this.#shape = shape;
    this.#recorder = recorder;
  }

  /** See Attention.loadQueries. */
  queries(chunk: RankChunk, hop: number): GpuQueries {
    const start = now();
    const buffer = this.#arrival("queries", hop, chunk.bytes, chunk.block.rows);
    this.#buffers.write(buffer, 0, chunk.data, 0, chunk.bytes);
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    return { block: chunk.block, owner: chunk.owner, buffer };
  }

  /**
   * See Attention.loadKeys. Lays the rows out so that each sequence begins at a multiple of 4, as the kernels expect.
   * The pages of an arrival lie in order.
   */
  keys(chunk: RankChunk, hop: number): GpuKeys {
    const start = now();
    const widths = rowBytes(this.#shape).keys;
    const { block, moves } = aligned(chunk.block);
    const alignment = this.#gpu.device.limits.minStorageBufferOffsetAlignment;
    const sizes = widths.map((row) => Math.max(block.rows * row, 16));
    const valuesAt = Math.ceil(sizes[0] / alignment) * alignment;
    const buffer = this.#arrival(
      "keys",
      hop,
      sizes[1] === undefined ? sizes[0] : valuesAt + sizes[1],
      chunk.block.rows,
    );
    let begin = 0;
    for (const [i, row] of widths.entries()) {
      const at = i === 0 ? 0 : valuesAt;
      for (const { from, to, rows } of moves) {
        this.#buffers.write(buffer, at + to * row, chunk.data, begin + from * row, rows * row);
        // The kernels load up to the multiple of 4 with weight 0. An earlier use of the buffer may have left a NaN in V.
        const gap = i < widths.length - 1 ? 0 : (Math.ceil(rows / KEYS_STEP) * KEYS_STEP - rows) * row;
        this.#buffers.write(buffer, at + (to + rows) * row, new ArrayBuffer(gap), 0, gap);
      }
      begin += chunk.block.rows * row;
    }
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    const pages = this.#inOrder(Math.ceil(block.rows / PAGE));
    const k = { buffer, size: sizes[0] };
    const v = sizes[1] === undefined ? k : { buffer, offset: valuesAt, size: sizes[1] };
    return { block, owner: chunk.owner, k, v, pages };
  }

  /**
   * Keys and values that are on the device already, f32 `[rows, Hkv, D]` each. A sequence's rows begin at a multiple of
   * 4. Kernels load the last group of 4 whole.
   */
  keysAt(block: Block, k: GPUBufferBinding, v: GPUBufferBinding): GpuKeys {
    return { block, owner: this.#recorder.rank, k, v, pages: this.#inOrder(Math.ceil(block.rows / PAGE)) };
  }

  /**
   * A page table of at least `pages` pages in order. A larger one is made if needed. The smaller one may still be in
   * use, so it is kept.
   */
  #inOrder(pages: number): GPUBuffer {
    if (this.#ordered === undefined || this.#ordered.pages < pages) {
      const words = Uint32Array.from({ length: Math.max(1, pages) }, (_, i) => i);
      this.#ordered = { pages, table: this.#buffers.upload(words, INPUT) };
    }
    return this.#ordered.table;
  }

  /**
   * A buffer for an arrival. The arrivals of two hops stay, each one buffer or, in slices, several: the kernels attend
   * to one hop's while the next one's are filled.
   */
  #arrival(kind: "queries" | "keys", hop: number, bytes: number, rows: number): GPUBuffer {
    this.#buffers.require(bytes, rows);
    const arrivals = this.#arrivals[kind];
    while (arrivals.length > 0 && arrivals[0].hop < hop - 1) this.#buffers.give(arrivals.shift()!.buffer);
    const buffer = this.#buffers.take(bytes, INPUT);
    arrivals.push({ hop, buffer });
    return buffer;
  }
}
