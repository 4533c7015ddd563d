/** Partial results (O and LSE) of one experiment on the device: made, stacked, merged and read back. */
import type { Block } from "../layout/shards.ts";
import { NO_KEYS, rowBytes, type Rows, type Shape } from "../ring/chunk.ts";
import { now, type Recorder } from "../trace/clock.ts";
import { type Buffers, OUTPUT } from "./buffers.ts";
import { chooseMerge } from "./choice.ts";
import type { Gpu } from "./device.ts";
import { MERGE_COLUMNS, MERGE_GROUP, MERGE_PARTS_COLUMNS, type MergeKernelName } from "./kernels.ts";
import type { Dispatch, Passes } from "./passes.ts";
import type { Kernels } from "./pipelines.ts";
import { MAX_GROUPS } from "./tiling.ts";
import { COPY_DST, MAP_READ, READ, UNIFORM } from "./usage.ts";

/** O and LSE on the device. */
export interface GpuPartial {
  readonly block: Block;
  readonly o: GPUBuffer;
  readonly lse: GPUBuffer;
}

/** Partial results of the same rows that lie stacked in two buffers. */
export interface Stack {
  readonly parts: number;
  readonly o: GPUBuffer;
  readonly lse: GPUBuffer;
}

/** What partial results are made and merged with. */
interface Room {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly buffers: Buffers;
  readonly passes: Passes;
  readonly shape: Shape;
  readonly recorder: Recorder;
  /** Every merge uses this kernel, even if it doesn't suit. */
  readonly only: MergeKernelName | undefined;
}

/** The partial results of one experiment. */
export class Partials {
  readonly #room: Room;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Room for a partial result of a block. Errors: LimitError. */
  make(block: Block): GpuPartial {
    const { buffers } = this.#room;
    const [oBytes, lseBytes] = this.bytes(block);
    buffers.require(oBytes, block.rows);
    return { block, o: buffers.take(oBytes, OUTPUT), lse: buffers.take(lseBytes, OUTPUT) };
  }

  /** The partial result of rows that see no key: O = 0, LSE = NO_KEYS. Errors: LimitError. */
  empty(block: Block): GpuPartial {
    const { gpu, buffers } = this.#room;
    const partial = this.make(block);
    const [oBytes, lseBytes] = this.bytes(block);
    const encoder = gpu.device.createCommandEncoder();
    if (oBytes > 0) encoder.clearBuffer(partial.o, 0, oBytes);
    gpu.device.queue.submit([encoder.finish()]);
    buffers.write(partial.lse, 0, new Float32Array(lseBytes / 4).fill(NO_KEYS).buffer, 0, lseBytes);
    return partial;
  }

  /** Bytes of O and of LSE. */
  bytes(block: Block): [o: number, lse: number] {
    const [o, lse] = rowBytes(this.#room.shape).partial;
    return [block.rows * o, block.rows * lse];
  }

  /** Room for `parts` partial results of a block. Errors: LimitError. */
  stack(block: Block, parts: number, usage: GPUBufferUsageFlags): Stack {
    const { buffers } = this.#room;
    const [oBytes, lseBytes] = this.bytes(block);
    buffers.require(oBytes * parts, block.rows);
    return { parts, o: buffers.take(oBytes * parts, usage), lse: buffers.take(lseBytes * parts, usage) };
  }

  /** Copies partial results to a stack, the first of them to place `at`. */
  copyTo(stack: Stack, at: number, partials: readonly GpuPartial[], encoder: GPUCommandEncoder): void {
    const [oBytes, lseBytes] = this.bytes(partials[0].block);
    for (const [i, { o, lse }] of partials.entries()) {
      encoder.copyBufferToBuffer(o, 0, stack.o, oBytes * (at + i), oBytes);
      encoder.copyBufferToBuffer(lse, 0, stack.lse, lseBytes * (at + i), lseBytes);
    }
  }

  /** Merges a stack into `merged`. `before` adds commands before the pass. */
  async merge(
    hop: number,
    { parts, o, lse }: Stack,
    merged: GpuPartial,
    before?: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
    const { kernels, buffers, passes, recorder } = this.#room;
    const { heads, valueDim } = this.#room.shape;
    const rows = merged.block.rows * heads;
    const columns = valueDim / 4;
    const name = this.kernel(parts, rows);
    const pipeline = await passes.compiled(hop, () => kernels.merge(name));
    const start = recorder.begin(kernels.ran.has(pipeline) ? "merge" : "compile", hop);
    const [oBytes, lseBytes] = this.bytes(merged.block);
    const params = buffers.upload(new Uint32Array([parts, rows, columns, 0]), UNIFORM | COPY_DST);
    const across = Math.ceil((rows * Math.ceil(columns / MERGE_COLUMNS)) / MERGE_GROUP);
    const groups: Dispatch["groups"] = name === "merge-parts"
      ? [rows, Math.ceil(columns / MERGE_PARTS_COLUMNS), 1]
      : [Math.min(MAX_GROUPS, across), 1, 1];
    const dispatches = [{ bindings: [params, o, lse, merged.o, merged.lse], groups }];
    const time = await passes.run({ pipeline, dispatches, start, before });
    recorder.add("device", "merge", hop, time.start, { bytes: (oBytes + lseBytes) * parts }, time.duration);
    buffers.give(params);
  }

  /** The kernel that merges `parts` partial results of `rows` rows (a token and head). */
  kernel(parts: number, rows: number): MergeKernelName {
    const { gpu, kernels: { given }, shape: { valueDim }, only } = this.#room;
    return chooseMerge({ device: gpu, parts, rows, columns: valueDim / 4, only, given });
  }

  /** Reads some rows of a partial back, O then LSE. The partial stays on the device. */
  async read(hop: number, partial: GpuPartial, rows: readonly Rows[]): Promise<ArrayBuffer> {
    const { gpu, buffers, shape, recorder } = this.#room;
    const start = now();
    const [oRow, lseRow] = rowBytes(shape).partial;
    const count = rows.reduce((sum, { length }) => sum + length, 0);
    const bytes = count * (oRow + lseRow);
    if (bytes === 0) return new ArrayBuffer(0);
    const staging = buffers.take(bytes, MAP_READ | COPY_DST);
    const encoder = gpu.device.createCommandEncoder();
    let at = 0;
    for (const { row, length } of rows) {
      encoder.copyBufferToBuffer(partial.o, row * oRow, staging, at * oRow, length * oRow);
      encoder.copyBufferToBuffer(partial.lse, row * lseRow, staging, count * oRow + at * lseRow, length * lseRow);
      at += length;
    }
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.wait(staging.mapAsync(READ, 0, bytes));
    const data = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    buffers.give(staging);
    recorder.add("host", "download", hop, start, { bytes });
    return data;
  }

  /** Reads a whole partial back, and gives its buffers to the pool. */
  async take(hop: number, partial: GpuPartial): Promise<ArrayBuffer> {
    const data = await this.read(hop, partial, [{ row: 0, length: partial.block.rows }]);
    this.#room.buffers.give(partial.o, partial.lse);
    return data;
  }
}
