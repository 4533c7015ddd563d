/** The contract on a GPU: uploads, the attention and merge kernels, read-backs, and the time each took. */
import type { Attention } from "../ring/contract.ts";
import { PAGE } from "../layout/pages.ts";
import { type Block, bySequence, type Run } from "../layout/shards.ts";
import { type Visibility, visibility } from "../layout/visibility.ts";
import { type Plan, type RankChunk, rankChunk, type Rows, type Shape } from "../ring/chunk.ts";
import { bytesPer } from "../tensor/dtype.ts";
import { now, type Recorder } from "../trace/clock.ts";
import { type Gpu, requireStorage } from "./device.ts";
import {
  type AttendShape,
  chooseKernel,
  chooseMerge,
  isMergeKernel,
  isPieceKernel,
  type KernelName,
  kernelName,
  type Kernels,
  MERGE_COLUMNS,
  type MergeKernelName,
  PIECE_HEADS,
  PIECE_KERNELS,
  PIECE_KEYS,
  type PieceKernel,
  suitingTileKernels,
  TILE_KERNELS,
  type TileKernelName,
} from "./kernels.ts";
import type { Pool } from "./pool.ts";

/** Queries on the device. */
export interface GpuQueries {
  readonly block: Block;
  readonly owner: number;
  readonly buffer: GPUBuffer;
}

/** Keys and values on the device, in pages (see attend.wgsl); the block's rows count through the page table. */
export interface GpuKeys {
  readonly block: Block;
  readonly owner: number;
  readonly k: GPUBufferBinding;
  readonly v: GPUBufferBinding;
  readonly pages: GPUBuffer;
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

/** What was loaded for the attention of a hop. */
interface Arrival {
  readonly hop: number;
  readonly buffer: GPUBuffer;
}

/** Columns that a workgroup of merge-parts.wgsl merges: its COLUMNS. */
const MERGE_PARTS_COLUMNS = 8;

/** Gets a pass's start and length on the shared clock, in seconds. */
type Report = (start: number, duration: number) => void;

/** One dispatch of a pass. */
interface Dispatch {
  readonly bindings: readonly (GPUBuffer | GPUBufferBinding)[];
  readonly groups: readonly [number, number, number];
}

/** Words of a buffer for a dispatch that computes nothing. */
const NOTHING = 256;

/** Dispatches take at most this many workgroups along one side (the default limit). */
const MAX_GROUPS = 65535;

/** attend and merge of one experiment on one device. `dispose` gives its buffers back to the pool. */
export class GpuAttention implements Attention<RankChunk, GpuQueries, GpuKeys, GpuPartial> {
  readonly #gpu: Gpu;
  readonly #kernels: Kernels;
  readonly #pool: Pool;
  readonly #shape: Shape;
  readonly #recorder: Recorder;
  readonly #arrivals = { queries: [] as Arrival[], keys: [] as Arrival[] };
  readonly #held = new Set<GPUBuffer>();
  readonly #used = new Set<string>();
  #ordered: { readonly pages: number; readonly table: GPUBuffer } | undefined;
  #disposed = false;
  #abandoned: { readonly reason: unknown } | undefined;
  /** The kernel of many query rows that this experiment was prepared for. */
  #prepared: TileKernelName | undefined;
  #ticks: { set: GPUQuerySet; resolved: GPUBuffer } | undefined;
  /**
   * Smallest host minus device clock seen at the end of a pass, in seconds: places device times on the shared clock.
   */
  #clockOffset = Infinity;

  /** When the last pass was seen to have ended: where the host's clock serves, the next one did not begin before. */
  #lastDone = 0;
  readonly #only: KernelName | undefined;
  readonly #onlyMerge: MergeKernelName | undefined;

  /** `only` makes every attention, or every merge, use that kernel, whatever suits: for tests and measurements. */
  constructor(
    gpu: Gpu,
    kernels: Kernels,
    pool: Pool,
    shape: Shape,
    recorder: Recorder,
    only?: KernelName | MergeKernelName,
  ) {
    if (isMergeKernel(only)) this.#onlyMerge = only;
    else this.#only = only;
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#shape = shape;
    this.#recorder = recorder;
    if (gpu.timestamps) {
      this.#ticks = {
        set: gpu.device.createQuerySet({ type: "timestamp", count: 2 }),
        resolved: this.#take(16, QUERY_RESOLVE | COPY_SRC),
      };
    }
  }

  #choose(seen: Visibility, flops: number): KernelName {
    const shape = this.#attendShape;
    // Single query rows are few operations, and gain nothing by a kernel of many rows.
    const { given } = this.#kernels;
    const first = chooseKernel(seen, this.#gpu, shape, 0, given);
    if (isPieceKernel(first)) return first;
    if (this.#kernels.tuner === undefined && this.#prepared !== undefined) return this.#prepared;
    const work = this.#kernels.asked(shape, flops);
    return this.#kernels.tuner?.pick(shape, suitingTileKernels(this.#gpu, shape, work), flops) ??
      chooseKernel(seen, this.#gpu, shape, work, given);
  }

  /**
   * Compiles the kernels that a run will use, and runs each once on nothing: some drivers (lavapipe) compile at the
   * first dispatch.
   */
  async prepare({ queries, keys, hops, parts }: Plan): Promise<void> {
    const { heads, kvHeads, headDim, causal } = this.#shape;
    const shape = this.#attendShape;
    const seen = visibility(queries, keys, causal);
    const flops = 4 * headDim * heads * seen.pairs;
    const { given, tuner } = this.#kernels;
    const first = this.#only ?? chooseKernel(seen, this.#gpu, shape, 0, given);
    let names: readonly KernelName[] = [first];
    let merged = parts;
    if (isPieceKernel(first)) {
      const across = kvHeads * Math.ceil(heads / kvHeads / PIECE_HEADS);
      const { slots } = piecesOf(
        seen,
        (PIECE_KERNELS[first] as PieceKernel).pieceKeys?.(longestView(seen), seen.views.length * across),
      );
      merged = Math.max(merged, slots + (hops > 1 ? 1 : 0));
    } else if (this.#only === undefined) {
      const work = this.#kernels.asked(shape, flops * hops);
      this.#prepared = chooseKernel(seen, this.#gpu, shape, work, given) as TileKernelName;
      names = tuner === undefined ? [this.#prepared] : suitingTileKernels(this.#gpu, shape, work);
      // Keys may be spread over workgroups on hardware, and are then merged.
      if (!this.#gpu.facts.software) merged = Math.max(merged, 2);
    }
    for (const name of names) {
      const piece = isPieceKernel(name);
      await this.#prepareOne(
        () => this.#kernels.attend(name, shape),
        paramsOf([heads, kvHeads, 1, piece ? queries.rows : 0], 0),
        piece ? 7 : 8,
      );
    }
    if (merged === 1) return;
    const rows = queries.rows * heads;
    const merge = this.#onlyMerge ?? chooseMerge(this.#gpu, merged, rows, headDim / 4, given);
    await this.#prepareOne(() => this.#kernels.merge(merge), new Uint32Array([1, 1, 1, 0]), 4);
  }

  /** Compiles a pipeline and dispatches it once, on `buffers` buffers of zeros. */
  async #prepareOne(
    get: () => Promise<GPUComputePipeline>,
    params: Uint32Array<ArrayBuffer>,
    buffers: number,
  ): Promise<void> {
    const pipeline = await this.#compiled(0, get);
    if (this.#kernels.ran.has(pipeline)) return;
    const start = this.#recorder.begin("compile", 0);
    const nothing = Array.from({ length: buffers }, () => this.#upload(new Uint32Array(NOTHING), OUTPUT));
    const uniform = this.#upload(params, UNIFORM | COPY_DST);
    await this.#run(
      pipeline,
      [{ bindings: [uniform, ...nothing], groups: [1, 1, 1] }],
      () => this.#recorder.add("host", "compile", 0, start),
      start,
    );
    this.#release(uniform, ...nothing);
  }

  get #attendShape(): AttendShape {
    return { ...this.#shape, group: this.#shape.heads / this.#shape.kvHeads };
  }

  loadQueries(chunk: RankChunk, hop: number): GpuQueries {
    const start = now();
    const buffer = this.#arrival("queries", hop, chunk.bytes, chunk.block.rows);
    this.#write(buffer, 0, chunk.data, 0, chunk.bytes);
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    return { block: chunk.block, owner: chunk.owner, buffer };
  }

  /**
   * Lays the rows out so that each sequence begins at a multiple of 4, as the kernels want; the pages of an arrival lie
   * in order.
   */
  loadKeys(chunk: RankChunk, hop: number): GpuKeys {
    const start = now();
    const row = this.#shape.kvHeads * this.#shape.headDim * bytesPer(this.#shape.kv);
    const { block, moves } = aligned(chunk.block);
    const half = Math.max(block.rows * row, 16);
    const alignment = this.#gpu.device.limits.minStorageBufferOffsetAlignment;
    const valuesAt = Math.ceil(half / alignment) * alignment;
    const buffer = this.#arrival("keys", hop, valuesAt + half, chunk.block.rows);
    for (const { from, to, rows } of moves) {
      this.#write(buffer, to * row, chunk.data, from * row, rows * row);
      this.#write(buffer, valuesAt + to * row, chunk.data, (chunk.block.rows + from) * row, rows * row);
      // The kernels load up to the multiple of 4 with weight 0; what an earlier use left there may be a NaN.
      const gap = (Math.ceil(rows / 4) * 4 - rows) * row;
      this.#write(buffer, valuesAt + (to + rows) * row, new ArrayBuffer(gap), 0, gap);
    }
    this.#recorder.add("host", "upload", hop, start, { bytes: chunk.bytes });
    const pages = this.#inOrder(Math.ceil(block.rows / PAGE));
    return { block, owner: chunk.owner, k: { buffer, size: half }, v: { buffer, offset: valuesAt, size: half }, pages };
  }

  /**
   * Keys and values that lie on the device already, f32 `[rows, Hkv, D]` each, a sequence's rows from a multiple of 4
   * on; a last group of 4 is loaded whole.
   */
  keysAt(block: Block, k: GPUBufferBinding, v: GPUBufferBinding): GpuKeys {
    return { block, owner: this.#recorder.rank, k, v, pages: this.#inOrder(Math.ceil(block.rows / PAGE)) };
  }

  async attend(hop: number, q: GpuQueries, kv: GpuKeys, into?: GpuPartial): Promise<GpuPartial> {
    const { headDim, heads, causal } = this.#shape;
    const seen = visibility(q.block, kv.block, causal);
    const flops = 4 * headDim * heads * seen.pairs;
    const name = this.#only ?? this.#choose(seen, flops);
    const pipeline = await this.#compiled(hop, () => this.#kernels.attend(name, this.#attendShape));
    const start = this.#recorder.begin(this.#kernels.ran.has(pipeline) ? "attend" : "compile", hop);
    const report: Report = (began, lasted) => {
      this.#recorder.add("device", "attend", hop, began, {
        flops,
        peer: q.owner === this.#recorder.rank ? kv.owner : q.owner,
      }, lasted);
      if (!isPieceKernel(name)) this.#kernels.tuner?.saw(this.#attendShape, name, flops, lasted);
    };
    this.#used.add(kernelName(name, this.#attendShape));
    return isPieceKernel(name)
      ? await this.#attendPieces(hop, PIECE_KERNELS[name], pipeline, q, kv, seen, into, report, start)
      : await this.#attendTiles(hop, TILE_KERNELS[name].tileRows, pipeline, q, kv, seen, into, report, start);
  }

  /** A kernel of tiles: many query rows, merged in its epilogue. */
  async #attendTiles(
    hop: number,
    tileRows: number,
    pipeline: GPUComputePipeline,
    q: GpuQueries,
    kv: GpuKeys,
    seen: Visibility,
    into: GpuPartial | undefined,
    report: Report,
    start: number,
  ): Promise<GpuPartial> {
    const { heads, kvHeads, scale } = this.#shape;
    const all = tilesOf(seen, heads / kvHeads, tileRows).length / 4;
    const spread = this.#gpu.facts.software ? 1 : spreadOf(all * kvHeads, longestView(seen));
    if (spread > 1 && this.#kernels.pace.tiles((4 * this.#shape.headDim * heads * seen.pairs) / all) >= all) {
      return await this.#attendSpread(hop, spread, tileRows, pipeline, q, kv, seen, into, report, start);
    }
    const partial = into ?? this.#partial(q.block);
    const keys = this.#gpu.facts.software ? SEGMENT_KEYS : GPU_SEGMENT_KEYS;
    const segments = Array.from(
      { length: segmentsOf(seen, keys) },
      (_, segment) => tilesOf(seen, heads / kvHeads, tileRows, segment, keys),
    );
    const flopsATile = (4 * this.#shape.headDim * heads * seen.pairs) /
      Math.max(1, segments.reduce((sum, tiles) => sum + tiles.length / 4, 0));
    const ends = this.#upload(seen.ends, INPUT);
    let [began, ended] = [Infinity, 0];
    // Two submissions are under way at a time: the device goes from one to the next without waiting for the host.
    let before: Promise<void> | undefined;
    const tileBuffers = segments.map((tiles) => this.#upload(tiles, INPUT));
    for (const [segment, tiles] of segments.entries()) {
      const count = tiles.length / 4;
      const bindings = [q.buffer, kv.k, kv.v, tileBuffers[segment], ends, partial.o, partial.lse, kv.pages];
      for (let first = 0; first < count || first === 0;) {
        const some = Math.min(count - first, this.#kernels.pace.tiles(flopsATile));
        const params = this.#upload(
          paramsOf([heads, kvHeads, first + some, into === undefined && segment === 0 ? 0 : 1], scale, first),
          UNIFORM | COPY_DST,
        );
        const run = this.#run(
          pipeline,
          [{ bindings: [params, ...bindings], groups: gridOf(some, kvHeads) }],
          (at, lasted) => {
            this.#kernels.pace.saw(flopsATile * some, lasted);
            [began, ended] = [Math.min(began, at), at + lasted];
            this.#release(params);
          },
          start,
        );
        run.catch(() => {}); // awaited below, unless the one before fails first
        await before;
        before = run;
        first += Math.max(1, some);
      }
    }
    await before;
    report(began, ended - began);
    this.#release(...tileBuffers, ends);
    return partial;
  }

  /** Few tiles on a device that many would fill: as many times as many, each for a part of the keys; then a merge. */
  async #attendSpread(
    hop: number,
    spread: number,
    tileRows: number,
    pipeline: GPUComputePipeline,
    q: GpuQueries,
    kv: GpuKeys,
    seen: Visibility,
    into: GpuPartial | undefined,
    report: Report,
    start: number,
  ): Promise<GpuPartial> {
    const { heads, kvHeads, scale } = this.#shape;
    const keys = Math.ceil(longestView(seen) / spread / PAGE) * PAGE;
    const ends = this.#upload(seen.ends, INPUT);
    // Each has buffers of its own: dispatches that write to the same one would wait for each other.
    const dispatches = Array.from({ length: spread }, (_, part) => {
      const tiles = tilesOf(seen, heads / kvHeads, tileRows, part, keys, true);
      const count = tiles.length / 4;
      const partial = this.#partial(q.block);
      const [params, buffer] = [
        this.#upload(paramsOf([heads, kvHeads, count, 0], scale), UNIFORM | COPY_DST),
        this.#upload(tiles, INPUT),
      ];
      return {
        partial,
        held: [params, buffer],
        bindings: [params, q.buffer, kv.k, kv.v, buffer, ends, partial.o, partial.lse, kv.pages],
        groups: gridOf(count, kvHeads),
      };
    });
    await this.#run(pipeline, dispatches, report, start);
    this.#release(ends, ...dispatches.flatMap(({ held }) => held));
    const partials = [...dispatches.map(({ partial }) => partial), ...(into === undefined ? [] : [into])];
    const merged = partials.pop()!;
    const [oBytes, lseBytes] = this.#partialBytes(q.block);
    const parts = partials.length + 1;
    const [partsO, partsLse] = [this.#take(oBytes * parts, INPUT), this.#take(lseBytes * parts, INPUT)];
    await this.#mergeParts(hop, parts, partsO, partsLse, merged, (encoder) => {
      for (const [i, { o, lse }] of [...partials, merged].entries()) {
        encoder.copyBufferToBuffer(o, 0, partsO, oBytes * i, oBytes);
        encoder.copyBufferToBuffer(lse, 0, partsLse, lseBytes * i, lseBytes);
      }
    });
    this.#release(partsO, partsLse, ...partials.flatMap(({ o, lse }) => [o, lse]));
    return merged;
  }

  /** A kernel of single query rows: their keys split in pieces, then merge.wgsl over the pieces and what there was. */
  async #attendPieces(
    hop: number,
    kernel: PieceKernel,
    pipeline: GPUComputePipeline,
    q: GpuQueries,
    kv: GpuKeys,
    seen: Visibility,
    into: GpuPartial | undefined,
    report: Report,
    start: number,
  ): Promise<GpuPartial> {
    const { heads, kvHeads, scale } = this.#shape;
    const across = kvHeads * Math.ceil(heads / kvHeads / PIECE_HEADS);
    const { pieces, slots } = piecesOf(seen, kernel.pieceKeys?.(longestView(seen), seen.views.length * across));
    const count = pieces.length / 4;
    const [oBytes, lseBytes] = this.#partialBytes(q.block);
    const parts = slots + (into === undefined ? 0 : 1);
    this.#require(oBytes * parts, q.block.rows);
    const partsO = this.#take(oBytes * parts, OUTPUT);
    const partsLse = this.#take(lseBytes * parts, OUTPUT);
    const params = this.#upload(paramsOf([heads, kvHeads, count, q.block.rows], scale), UNIFORM | COPY_DST);
    const pieceBuffer = this.#upload(pieces, INPUT);
    await this.#run(
      pipeline,
      [{
        bindings: [params, q.buffer, kv.k, kv.v, pieceBuffer, kv.pages, partsO, partsLse],
        groups: gridOf(count, across),
      }],
      report,
      start,
      (encoder) => {
        if (into === undefined) return;
        encoder.copyBufferToBuffer(into.o, 0, partsO, oBytes * slots, oBytes);
        encoder.copyBufferToBuffer(into.lse, 0, partsLse, lseBytes * slots, lseBytes);
      },
    );
    this.#release(params, pieceBuffer);
    if (parts === 1) return { block: q.block, o: partsO, lse: partsLse };
    const merged = into ?? this.#partial(q.block);
    await this.#mergeParts(hop, parts, partsO, partsLse, merged);
    this.#release(partsO, partsLse);
    return merged;
  }

  async unload(hop: number, partial: GpuPartial, owner: number): Promise<RankChunk> {
    const data = await this.#download(hop, partial);
    return rankChunk(owner, partial.block, data);
  }

  async merge(own: GpuPartial, arrived: readonly RankChunk[]): Promise<GpuPartial> {
    if (arrived.length === 0) return own;
    const [oBytes, lseBytes] = this.#partialBytes(own.block);
    const parts = arrived.length + 1;
    this.#require(oBytes * parts, own.block.rows);
    const partsO = this.#take(oBytes * parts, INPUT);
    const partsLse = this.#take(lseBytes * parts, INPUT);
    arrived.forEach((chunk, i) => {
      this.#write(partsO, oBytes * (i + 1), chunk.data, 0, oBytes);
      this.#write(partsLse, lseBytes * (i + 1), chunk.data, oBytes, lseBytes);
    });
    await this.#mergeParts(arrived.length, parts, partsO, partsLse, own, (encoder) => {
      encoder.copyBufferToBuffer(own.o, 0, partsO, 0, oBytes);
      encoder.copyBufferToBuffer(own.lse, 0, partsLse, 0, lseBytes);
    });
    this.#release(partsO, partsLse);
    return own;
  }

  /** merge.wgsl over stacked parts, into `merged`. */
  async #mergeParts(
    hop: number,
    parts: number,
    partsO: GPUBuffer,
    partsLse: GPUBuffer,
    merged: GpuPartial,
    before?: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
    const { heads, headDim } = this.#shape;
    const rows = merged.block.rows * heads;
    const columns = headDim / 4;
    const name = this.#onlyMerge ?? chooseMerge(this.#gpu, parts, rows, columns, this.#kernels.given);
    const pipeline = await this.#compiled(hop, () => this.#kernels.merge(name));
    const start = this.#recorder.begin(this.#kernels.ran.has(pipeline) ? "merge" : "compile", hop);
    const [oBytes, lseBytes] = this.#partialBytes(merged.block);
    const params = this.#upload(new Uint32Array([parts, rows, columns, 0]), UNIFORM | COPY_DST);
    const groups: [number, number, number] = name === "merge-parts"
      ? [rows, Math.ceil(columns / MERGE_PARTS_COLUMNS), 1]
      : [Math.min(MAX_GROUPS, Math.ceil((rows * Math.ceil(columns / MERGE_COLUMNS)) / 64)), 1, 1];
    const report: Report = (began, lasted) =>
      this.#recorder.add("device", "merge", hop, began, { bytes: (oBytes + lseBytes) * parts }, lasted);
    await this.#run(
      pipeline,
      [{ bindings: [params, partsO, partsLse, merged.o, merged.lse], groups }],
      report,
      start,
      before,
    );
    this.#release(params);
  }

  /** Reads some rows of a partial back; it stays on the device as it is. */
  async copy(hop: number, partial: GpuPartial, rows: readonly Rows[]): Promise<ArrayBuffer> {
    const { device } = this.#gpu;
    const start = now();
    const lseRow = this.#shape.heads * 4;
    const oRow = lseRow * this.#shape.headDim;
    const count = rows.reduce((sum, { length }) => sum + length, 0);
    const bytes = count * (oRow + lseRow);
    if (bytes === 0) return new ArrayBuffer(0);
    const staging = this.#take(bytes, MAP_READ | COPY_DST);
    const encoder = device.createCommandEncoder();
    let at = 0;
    for (const { row, length } of rows) {
      encoder.copyBufferToBuffer(partial.o, row * oRow, staging, at * oRow, length * oRow);
      encoder.copyBufferToBuffer(partial.lse, row * lseRow, staging, count * oRow + at * lseRow, length * lseRow);
      at += length;
    }
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, bytes));
    const data = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    this.#release(staging);
    this.#recorder.add("host", "download", hop, start, { bytes });
    return data;
  }

  /** Takes the final result off the device. */
  async result(partial: GpuPartial): Promise<ArrayBuffer> {
    return await this.#download(0, partial);
  }

  /**
   * Gives back what this experiment still holds: to the pool, or, when it failed and the device may still be at work,
   * for good.
   */
  dispose(failed: boolean): void {
    if (this.#disposed) return;
    if (failed) this.#pool.drop(...this.#held);
    else this.#pool.give(...this.#held);
    this.#held.clear();
    this.#disposed = true;
    this.#ticks?.set.destroy();
    this.#ticks = undefined;
  }

  /** Names of the kernels that ran. */
  get used(): readonly string[] {
    return [...this.#used];
  }

  /** Makes what is under way and what would follow end in `reason`, at its next step. */
  abandon(reason: unknown): void {
    this.#abandoned ??= { reason };
  }

  /** A pipeline, with the time it took to compile if it did. */
  async #compiled(hop: number, pipeline: () => Promise<GPUComputePipeline>): Promise<GPUComputePipeline> {
    if (this.#abandoned !== undefined) throw this.#abandoned.reason;
    const start = this.#recorder.begin("compile", hop);
    const before = this.#kernels.compileSeconds;
    const compiled = await pipeline();
    if (this.#kernels.compileSeconds > before) this.#recorder.add("host", "compile", hop, start);
    return compiled;
  }

  /**
   * A page table of at least `pages` pages that lie in order, made once (a smaller one may still be in use, so it is
   * kept).
   */
  #inOrder(pages: number): GPUBuffer {
    if (this.#ordered === undefined || this.#ordered.pages < pages) {
      this.#ordered = {
        pages,
        table: this.#upload(Uint32Array.from({ length: Math.max(1, pages) }, (_, i) => i), INPUT),
      };
    }
    return this.#ordered.table;
  }

  /**
   * Arrivals of two hops are held, each a buffer or, in slices, several: one hop's are attended to while the next one's
   * are filled.
   */
  #arrival(kind: "queries" | "keys", hop: number, bytes: number, rows: number): GPUBuffer {
    this.#require(bytes, rows);
    const arrivals = this.#arrivals[kind];
    while (arrivals.length > 0 && arrivals[0].hop < hop - 1) this.#release(arrivals.shift()!.buffer);
    const buffer = this.#take(bytes, INPUT);
    arrivals.push({ hop, buffer });
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
    requireStorage(this.#gpu.limits, bytes, (have) => Math.floor((have / Math.max(1, bytes)) * rows));
  }

  #take(bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    if (this.#abandoned !== undefined) throw this.#abandoned.reason;
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

  /**
   * One submission with one compute pass; resolves when the device has done it. `report` gets the pass's start and
   * length on the shared clock.
   */
  async #run(
    pipeline: GPUComputePipeline,
    dispatches: readonly Dispatch[],
    report: Report,
    start: number,
    before?: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
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
      report(began, this.#lastDone - began);
      return;
    }
    const staging = this.#take(16, MAP_READ | COPY_DST);
    encoder.resolveQuerySet(ticks.set, 0, 2, ticks.resolved, 0);
    encoder.copyBufferToBuffer(ticks.resolved, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(staging.mapAsync(READ, 0, 16));
    const done = now();
    this.#kernels.ran.add(pipeline);
    const [begin, end] = new BigUint64Array(staging.getMappedRange(0, 16).slice(0));
    staging.unmap();
    this.#release(staging);
    const duration = Number(end - begin) / 1e9;
    this.#clockOffset = Math.min(this.#clockOffset, done - Number(end) / 1e9);
    report(Math.max(start, Number(begin) / 1e9 + this.#clockOffset), Math.max(0, duration));
  }

  /** Reads O and LSE back and gives their buffers to the pool. */
  async #download(hop: number, partial: GpuPartial): Promise<ArrayBuffer> {
    const data = await this.copy(hop, partial, [{ row: 0, length: partial.block.rows }]);
    this.#release(partial.o, partial.lse);
    return data;
  }
}

/**
 * Most keys that a workgroup of a tile kernel goes through; more are further dispatches, merged in the epilogue. Mesa's
 * llvmpipe ends a shader's loops after 65,535 turns in all, in silence: at D 256 that is some 8,000 keys.
 */
const SEGMENT_KEYS = 4096;
/** The same on hardware, where nothing of the kind is known: as many as keep a submission of a single tile short. */
const GPU_SEGMENT_KEYS = 65536;

/** Keys that the row of the longest view sees. */
function longestView(seen: Visibility): number {
  return seen.views.reduce((most, view) => Math.max(most, seen.ends[view.row + view.rows - 1] - view.first), 0);
}

/** Into how many segments of `keys` keys an attention is divided, at least one. */
export function segmentsOf(seen: Visibility, keys = SEGMENT_KEYS): number {
  return Math.max(1, Math.ceil(longestView(seen) / keys));
}

/** Workgroups of tiles that fill a GPU: two for each of the largest ones' processors. */
const FILL = 256;
/** Fewest keys that are worth a workgroup of their own. */
const SPREAD_KEYS = 256;

/**
 * Into how many parts keys are divided, to be attended to side by side, where tiles alone give a GPU `workgroups`
 * workgroups, and the longest has `keys` keys.
 */
export function spreadOf(workgroups: number, keys: number): number {
  return workgroups === 0 ? 1 : Math.max(1, Math.min(8, Math.ceil(FILL / workgroups), Math.floor(keys / SPREAD_KEYS)));
}

/**
 * Tiles of a kernel of many query rows for one segment of `keys` keys: (first packed row, packed rows, first key, end
 * of keys), four u32 each.
 * The first segment has every row; the others those that see keys of theirs, or `every` one.
 */
export function tilesOf(
  seen: Visibility,
  group: number,
  tileRows: number,
  segment = 0,
  keys = SEGMENT_KEYS,
  every = segment === 0,
): Uint32Array<ArrayBuffer> {
  const tiles: number[] = [];
  for (const view of seen.views) {
    const firstKey = view.first + segment * keys;
    const packed = view.rows * group;
    // The last rows see most keys: they begin first, so that none of them is left alone at the end.
    for (let at = Math.floor((packed - 1) / tileRows) * tileRows; at >= 0; at -= tileRows) {
      const rows = Math.min(tileRows, packed - at);
      const lastToken = view.row + Math.floor((at + rows - 1) / group);
      const end = seen.ends[lastToken];
      if (every || end > firstKey) {
        tiles.push(view.row * group + at, rows, firstKey, Math.min(Math.max(end, firstKey), firstKey + keys));
      }
    }
  }
  return new Uint32Array(tiles);
}

/**
 * Pieces of decode.wgsl: (query row, first key, end of keys, slot), four u32 each; every row has all slots, empty ones
 * too.
 */
export function piecesOf(
  seen: Visibility,
  pieceKeys: number = PIECE_KEYS,
): { pieces: Uint32Array<ArrayBuffer>; slots: number } {
  const rows = seen.views.flatMap((view) =>
    Array.from(
      { length: view.rows },
      (_, i) => ({ row: view.row + i, first: view.first, end: seen.ends[view.row + i] }),
    )
  );
  const slots = rows.reduce((most, { first, end }) => Math.max(most, Math.ceil((end - first) / pieceKeys)), 1);
  const pieces = rows.flatMap(({ row, first, end }) =>
    Array.from(
      { length: slots },
      (_, slot) => [row, Math.min(end, first + slot * pieceKeys), Math.min(end, first + (slot + 1) * pieceKeys), slot],
    )
  );
  return { pieces: new Uint32Array(pieces.flat()), slots };
}

/** Rows to copy so that each sequence of a block begins at a multiple of 4, and the block they make. */
export function aligned(block: Block): { block: Block; moves: { from: number; to: number; rows: number }[] } {
  const runs: Run[] = [];
  const moves: { from: number; to: number; rows: number }[] = [];
  let to = 0;
  for (const own of bySequence(block).values()) {
    const from = own[0].row;
    const rows = own.reduce((sum, run) => sum + run.length, 0);
    for (const run of own) runs.push({ ...run, row: run.row - from + to });
    moves.push({ from, to, rows });
    to = Math.ceil((to + rows) / 4) * 4;
  }
  return { block: { runs, rows: to }, moves };
}

/** A grid of `count` workgroups along x and z, `high` along y. */
function gridOf(count: number, high: number): [number, number, number] {
  const wide = Math.min(count, MAX_GROUPS);
  return [wide, high, Math.ceil(count / Math.max(1, wide))];
}

function paramsOf(integers: readonly number[], scale: number, first = 0): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(8);
  words.set(integers);
  new Float32Array(words.buffer)[4] = scale;
  words[5] = first;
  return words;
}
