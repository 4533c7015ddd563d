/** The contract on a GPU: uploads, the attention and merge kernels, read-backs, and the time each took. */
import type { Attention } from "../ring/contract.ts";
import type { Block } from "../layout/shards.ts";
import { type Visibility, visibility } from "../layout/visibility.ts";
import { type RankChunk, rankChunk, type Shape } from "../rank/chunk.ts";
import { bytesPer } from "../tensor/dtype.ts";
import { now, type Recorder } from "../trace/clock.ts";
import { type Gpu, requireStorage } from "./device.ts";
import { type Kernels, TILE_ROWS } from "./kernels.ts";
import type { Pool } from "./pool.ts";

/** Queries on the device. */
export interface GpuQueries {
  readonly block: Block;
  readonly owner: number;
  readonly buffer: GPUBuffer;
}

/** Keys and values on the device: V begins at `valuesAt` bytes. */
export interface GpuKeys extends GpuQueries {
  readonly valuesAt: number;
  /** Bytes of K, and of V. */
  readonly half: number;
}

/** O and LSE on the device. */
export interface GpuPartial {
  readonly block: Block;
  readonly o: GPUBuffer;
  readonly lse: GPUBuffer;
}

// GPUBufferUsage's values (WebGPU specification): Node has no such global.
const MAP_READ = 0x1, COPY_SRC = 0x4, COPY_DST = 0x8, UNIFORM = 0x40, STORAGE = 0x80, QUERY_RESOLVE = 0x200;
const READ = 0x1;
const INPUT = STORAGE | COPY_DST;
const OUTPUT = STORAGE | COPY_SRC | COPY_DST;

/** Dispatches take at most this many workgroups along one side (the default limit). */
const MAX_GROUPS = 65535;

/** attend and merge of one experiment on one device. `dispose` gives its buffers back to the pool. */
export class GpuAttention implements Attention<RankChunk, GpuQueries, GpuKeys, GpuPartial> {
  readonly #gpu: Gpu;
  readonly #kernels: Kernels;
  readonly #pool: Pool;
  readonly #shape: Shape;
  readonly #recorder: Recorder;
  readonly #arrivals = { queries: [] as GPUBuffer[], keys: [] as GPUBuffer[] };
  readonly #held = new Set<GPUBuffer>();
  #disposed = false;
  #ticks: { set: GPUQuerySet; resolved: GPUBuffer } | undefined;
  /** Smallest host minus device clock seen at the end of a pass, in seconds: places device times on the shared clock. */
  #clockOffset = Infinity;

  constructor(gpu: Gpu, kernels: Kernels, pool: Pool, shape: Shape, recorder: Recorder) {
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#shape = shape;
    this.#recorder = recorder;
    if (gpu.timestamps) {
      this.#ticks = { set: gpu.device.createQuerySet({ type: "timestamp", count: 2 }), resolved: this.#take(16, QUERY_RESOLVE | COPY_SRC) };
    }
  }

  loadQueries(chunk: RankChunk, hop: number): GpuQueries {
    const start = now();
    const buffer = this.#arrival("queries", chunk.bytes, chunk.block.rows);
    this.#write(buffer, 0, chunk.data, 0, chunk.bytes);
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    return { block: chunk.block, owner: chunk.owner, buffer };
  }

  loadKeys(chunk: RankChunk, hop: number): GpuKeys {
    const start = now();
    const half = chunk.block.rows * this.#shape.kvHeads * this.#shape.headDim * bytesPer(this.#shape.kv);
    const alignment = this.#gpu.device.limits.minStorageBufferOffsetAlignment;
    const valuesAt = Math.ceil(half / alignment) * alignment;
    const buffer = this.#arrival("keys", valuesAt + half, chunk.block.rows);
    this.#write(buffer, 0, chunk.data, 0, half);
    this.#write(buffer, valuesAt, chunk.data, half, half);
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    return { block: chunk.block, owner: chunk.owner, buffer, valuesAt, half };
  }

  async attend(hop: number, q: GpuQueries, kv: GpuKeys, into?: GpuPartial): Promise<GpuPartial> {
    const { heads, kvHeads, headDim, scale, causal } = this.#shape;
    const compileStart = this.#recorder.begin("compile", hop);
    const before = this.#kernels.compileSeconds;
    const pipeline = await this.#kernels.attend({ headDim, q: this.#shape.q, kv: this.#shape.kv });
    if (this.#kernels.compileSeconds > before) this.#recorder.add("host", "compile", hop, compileStart);

    const waiting = this.#recorder.begin("attend", hop);
    const seen = visibility(q.block, kv.block, causal);
    const tiles = tilesOf(seen, heads / kvHeads);
    const partial = into ?? this.#partial(q.block);
    const params = this.#upload(paramsOf([heads, kvHeads, tiles.length / 4, into === undefined ? 0 : 1], scale), UNIFORM | COPY_DST);
    const tileBuffer = this.#upload(tiles, INPUT);
    const ends = this.#upload(seen.ends, INPUT);
    const size = Math.max(kv.half, 16);
    const bindings = [params, q.buffer, { buffer: kv.buffer, size }, { buffer: kv.buffer, offset: kv.valuesAt, size }, tileBuffer, ends, partial.o, partial.lse];
    const groups = tiles.length / 4;
    const wide = Math.min(groups, MAX_GROUPS);
    await this.#run(pipeline, bindings, [wide, kvHeads, Math.ceil(groups / Math.max(1, wide))], (began, lasted) =>
      this.#recorder.add("device", "attend", hop, began, { flops: 4 * headDim * heads * seen.pairs, peer: q.owner === this.#recorder.rank ? kv.owner : q.owner }, lasted), waiting);
    this.#release(params, tileBuffer, ends);
    return partial;
  }

  async unload(hop: number, partial: GpuPartial, owner: number): Promise<RankChunk> {
    const data = await this.#download(hop, partial);
    return rankChunk(owner, partial.block, data);
  }

  async merge(own: GpuPartial, arrived: readonly RankChunk[]): Promise<GpuPartial> {
    if (arrived.length === 0) return own;
    const pipeline = await this.#kernels.merge();
    const start = this.#recorder.begin("merge", 0);
    const rows = own.block.rows * this.#shape.heads;
    const [oBytes, lseBytes] = this.#partialBytes(own.block);
    const parts = arrived.length + 1;
    this.#require(oBytes * parts, own.block.rows);
    const partsO = this.#take(oBytes * parts, INPUT);
    const partsLse = this.#take(lseBytes * parts, INPUT);
    arrived.forEach((chunk, i) => {
      this.#write(partsO, oBytes * (i + 1), chunk.data, 0, oBytes);
      this.#write(partsLse, lseBytes * (i + 1), chunk.data, oBytes, lseBytes);
    });
    const merged = this.#partial(own.block);
    const params = this.#upload(new Uint32Array([parts, rows, this.#shape.headDim / 4, 0]), UNIFORM | COPY_DST);
    const groups = Math.min(MAX_GROUPS, Math.ceil((rows * this.#shape.headDim) / 4 / 64));
    await this.#run(pipeline, [params, partsO, partsLse, merged.o, merged.lse], [groups, 1, 1],
      (began, lasted) => this.#recorder.add("device", "merge", 0, began, { bytes: (oBytes + lseBytes) * parts }, lasted), start, (encoder) => {
        encoder.copyBufferToBuffer(own.o, 0, partsO, 0, oBytes);
        encoder.copyBufferToBuffer(own.lse, 0, partsLse, 0, lseBytes);
      });
    this.#release(params, partsO, partsLse, own.o, own.lse);
    return merged;
  }

  /** Takes the final result off the device. */
  async result(partial: GpuPartial): Promise<ArrayBuffer> {
    return await this.#download(0, partial);
  }

  /** Gives back what this experiment still holds: to the pool, or, when it failed and the device may still be at work, for good. */
  dispose(failed: boolean): void {
    if (failed) this.#pool.drop(...this.#held);
    else this.#pool.give(...this.#held);
    this.#held.clear();
    this.#disposed = true;
    this.#ticks?.set.destroy();
    this.#ticks = undefined;
  }

  /** Arrivals of a kind alternate between two buffers: one is attended to while the next is filled. */
  #arrival(kind: "queries" | "keys", bytes: number, rows: number): GPUBuffer {
    this.#require(bytes, rows);
    const arrivals = this.#arrivals[kind];
    if (arrivals.length === 2) this.#release(arrivals.shift()!);
    const buffer = this.#take(bytes, INPUT);
    arrivals.push(buffer);
    return buffer;
  }

  #partial(block: Block): GpuPartial {
    const [oBytes, lseBytes] = this.#partialBytes(block);
    this.#require(oBytes, block.rows);
    return { block, o: this.#take(oBytes, OUTPUT), lse: this.#take(lseBytes, OUTPUT) };
  }

  #partialBytes(block: Block): [o: number, lse: number] {
    const rows = block.rows * this.#shape.heads;
    return [rows * this.#shape.headDim * 4, rows * 4];
  }

  #require(bytes: number, rows: number): void {
    requireStorage(this.#gpu.device, bytes, (have) => Math.floor((have / Math.max(1, bytes)) * rows));
  }

  #take(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    if (this.#disposed) throw new Error("the experiment has ended");
    const buffer = this.#pool.take(bytes, usage);
    this.#held.add(buffer);
    return buffer;
  }

  #release(...buffers: readonly GPUBuffer[]): void {
    if (this.#disposed) return;
    for (const b of buffers) this.#held.delete(b);
    this.#pool.give(...buffers);
  }

  /** Deno 2.9 panics at a write of no bytes. */
  #write(to: GPUBuffer, at: number, data: ArrayBuffer, from: number, bytes: number): void {
    if (bytes > 0) this.#gpu.device.queue.writeBuffer(to, at, data, from, bytes);
  }

  #upload(data: Uint32Array<ArrayBuffer>, usage: GPUBufferUsageFlags): GPUBuffer {
    const buffer = this.#take(data.byteLength, usage);
    this.#write(buffer, 0, data.buffer, 0, data.byteLength);
    return buffer;
  }

  /** One submission with one compute pass; resolves when the device has done it. `report` gets the pass's start and length on the shared clock. */
  async #run(
    pipeline: GPUComputePipeline,
    bindings: readonly (GPUBuffer | GPUBufferBinding)[],
    groups: readonly [number, number, number],
    report: (start: number, duration: number) => void,
    start: number,
    before?: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
    const { device } = this.#gpu;
    const entries = bindings.map((b, binding) => ({ binding, resource: "buffer" in b ? b : { buffer: b } }));
    const bindGroup = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const encoder = device.createCommandEncoder();
    before?.(encoder);
    const ticks = this.#ticks;
    const pass = encoder.beginComputePass(
      ticks && { timestampWrites: { querySet: ticks.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    if (groups[0] > 0) pass.dispatchWorkgroups(...groups);
    pass.end();
    if (ticks === undefined) {
      device.queue.submit([encoder.finish()]);
      await this.#gpu.wait(device.queue.onSubmittedWorkDone());
      report(start, now() - start);
      return;
    }
    const staging = this.#take(16, MAP_READ | COPY_DST);
    encoder.resolveQuerySet(ticks.set, 0, 2, ticks.resolved, 0);
    encoder.copyBufferToBuffer(ticks.resolved, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, 16));
    const done = now();
    const [begin, end] = new BigUint64Array(staging.getMappedRange(0, 16).slice(0));
    staging.unmap();
    this.#release(staging);
    const duration = Number(end - begin) / 1e9;
    this.#clockOffset = Math.min(this.#clockOffset, done - Number(end) / 1e9);
    report(Math.max(start, Number(begin) / 1e9 + this.#clockOffset), Math.max(0, duration));
  }

  /** Reads O and LSE back and gives their buffers to the pool. */
  async #download(hop: number, partial: GpuPartial): Promise<ArrayBuffer> {
    const { device } = this.#gpu;
    const start = now();
    const [oBytes, lseBytes] = this.#partialBytes(partial.block);
    const staging = this.#take(oBytes + lseBytes, MAP_READ | COPY_DST);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(partial.o, 0, staging, 0, oBytes);
    encoder.copyBufferToBuffer(partial.lse, 0, staging, oBytes, lseBytes);
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, oBytes + lseBytes));
    const data = staging.getMappedRange(0, oBytes + lseBytes).slice(0);
    staging.unmap();
    this.#release(staging, partial.o, partial.lse);
    this.#recorder.add("host", "download", hop, start, { bytes: data.byteLength });
    return data;
  }
}

/** Tiles of attend.wgsl: (first packed row, packed rows, first key, end of keys), four u32 each. */
export function tilesOf(seen: Visibility, group: number): Uint32Array<ArrayBuffer> {
  const tiles: number[] = [];
  for (const view of seen.views) {
    const packed = view.rows * group;
    for (let at = 0; at < packed; at += TILE_ROWS) {
      const rows = Math.min(TILE_ROWS, packed - at);
      const lastToken = view.row + Math.floor((at + rows - 1) / group);
      tiles.push(view.row * group + at, rows, view.first, seen.ends[lastToken]);
    }
  }
  return new Uint32Array(tiles);
}

function paramsOf(integers: readonly number[], scale: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(8);
  words.set(integers);
  new Float32Array(words.buffer)[4] = scale;
  return words;
}
