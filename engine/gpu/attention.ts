/** The contract on a GPU: loads operands, attends, merges, and reads results back. */
import type { Attention } from "../ring/contract.ts";
import type { Block } from "../layout/shards.ts";
import { isLocal } from "../layout/mask.ts";
import { type Visibility, visibility } from "../layout/visibility.ts";
import { attentionFlops, type RankChunk, rankChunk, type Rows, type Shape, type Workload } from "../ring/chunk.ts";
import type { Recorder } from "../trace/clock.ts";
import { Buffers, INPUT, OUTPUT } from "./buffers.ts";
import { candidateKernels, chooseKernel, type KernelCall } from "./choice.ts";
import type { Gpu } from "./device.ts";
import {
  type AttendShape,
  isMergeKernel,
  isPieceKernel,
  type KernelName,
  kernelName,
  type MergeKernelName,
  PIECE_KERNELS,
  type PieceKernel,
  TILE_KERNELS,
  type TileKernelName,
} from "./kernels.ts";
import { type GpuKeys, type GpuQueries, Operands } from "./operands.ts";
import { type GpuPartial, Partials } from "./partials.ts";
import { Passes, type PassTime } from "./passes.ts";
import type { Kernels } from "./pipelines.ts";
import type { Pool } from "./pool.ts";
import * as tiling from "./tiling.ts";
import { COPY_DST, UNIFORM } from "./usage.ts";

export type { GpuKeys, GpuPartial, GpuQueries };

/** An attention call under way. */
interface Call {
  readonly hop: number;
  readonly q: GpuQueries;
  readonly kv: GpuKeys;
  /** What the result is merged into, if anything. */
  readonly into: GpuPartial | undefined;
  readonly seen: Visibility;
  readonly flops: number;
  readonly pipeline: GPUComputePipeline;
  /** When it began, on the shared clock in seconds. */
  readonly start: number;
  /** Takes the time of its attention, without the merge that may follow. */
  readonly report: (time: PassTime) => void;
}

/** attend and merge of one experiment on one device. `dispose` gives its buffers back to the pool. */
export class GpuAttention implements Attention<RankChunk, GpuQueries, GpuKeys, GpuPartial> {
  readonly #gpu: Gpu;
  readonly #kernels: Kernels;
  readonly #buffers: Buffers;
  readonly #passes: Passes;
  readonly #operands: Operands;
  readonly #partials: Partials;
  readonly #shape: Shape;
  readonly #recorder: Recorder;
  readonly #used = new Set<string>();
  /** The kernel of many query rows that this experiment was prepared for. */
  #prepared: TileKernelName | undefined;
  readonly #only: KernelName | undefined;

  /** `only` makes every attention, or every merge, use that kernel, even if it doesn't suit: for tests and timings. */
  constructor(
    gpu: Gpu,
    kernels: Kernels,
    pool: Pool,
    shape: Shape,
    recorder: Recorder,
    only?: KernelName | MergeKernelName,
  ) {
    this.#only = isMergeKernel(only) ? undefined : only;
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#shape = shape;
    this.#recorder = recorder;
    const buffers = new Buffers(gpu, pool);
    const passes = new Passes(gpu, kernels, buffers, recorder);
    const onlyMerge = isMergeKernel(only) ? only : undefined;
    this.#buffers = buffers;
    this.#passes = passes;
    this.#operands = new Operands(gpu, buffers, shape, recorder);
    this.#partials = new Partials({ gpu, kernels, buffers, passes, shape, recorder, only: onlyMerge });
  }

  /** Names of the kernels that ran. */
  get used(): readonly string[] {
    return [...this.#used];
  }

  get #attendShape(): AttendShape {
    return { ...this.#shape, group: this.#shape.heads / this.#shape.kvHeads };
  }

  /** What the kernel of a call is chosen from. */
  #callOf(seen: Visibility, flops: number): KernelCall {
    const { given, tuner } = this.#kernels;
    const shape = this.#attendShape;
    const work = this.#kernels.work(shape) + flops;
    return { device: this.#gpu, shape, seen, work, flops, only: this.#only, given, prepared: this.#prepared, tuner };
  }

  #choose(seen: Visibility, flops: number): KernelName {
    const call = this.#callOf(seen, flops);
    const kernel = chooseKernel(call);
    // Single query rows are few operations. `prepare` counted those of its run already.
    const counts = call.only === undefined && !isPieceKernel(kernel);
    if (counts && (call.tuner !== undefined || call.prepared === undefined)) this.#kernels.count(call.shape, flops);
    return kernel;
  }

  /** Compiles the kernels that a run will use, and runs each once on nothing (see Passes.prepare). */
  async prepare({ queries, keys, hops, parts }: Workload): Promise<void> {
    const { heads, kvHeads, mask } = this.#shape;
    const shape = this.#attendShape;
    const seen = visibility(queries, keys, mask);
    const flops = attentionFlops(this.#shape, seen.pairs) * hops;
    const names = candidateKernels(this.#callOf(seen, flops));
    let merged = parts;
    if (isPieceKernel(names[0])) {
      const { slots } = tiling.piecesOf(
        seen,
        PIECE_KERNELS[names[0]] as PieceKernel,
        tiling.pieceGroups(heads, kvHeads),
      );
      merged = Math.max(merged, slots + (hops > 1 ? 1 : 0));
    } else if (this.#only === undefined) {
      this.#kernels.count(shape, flops);
      this.#prepared = names[0];
      // On hardware, keys may be spread over workgroups, which are then merged.
      if (!this.#gpu.facts.software) merged = Math.max(merged, 2);
    }
    for (const name of names) {
      const piece = isPieceKernel(name);
      const params = tiling.paramsOf({ heads, kvHeads, count: 1, last: piece ? queries.rows : 0, scale: 0 });
      await this.#passes.prepare(() => this.#kernels.attend(name, shape), params, piece ? 7 : 8);
    }
    if (merged === 1) return;
    const merge = this.#partials.kernel(merged, queries.rows * heads);
    await this.#passes.prepare(() => this.#kernels.merge(merge), new Uint32Array([1, 1, 1, 0]), 4);
  }

  loadQueries(chunk: RankChunk, hop: number): GpuQueries {
    return this.#operands.queries(chunk, hop);
  }

  loadKeys(chunk: RankChunk, hop: number): GpuKeys {
    return this.#operands.keys(chunk, hop);
  }

  /** Keys and values that are on the device already (see Operands.keysAt). */
  keysAt(block: Block, k: GPUBufferBinding, v: GPUBufferBinding): GpuKeys {
    return this.#operands.keysAt(block, k, v);
  }

  async attend(hop: number, q: GpuQueries, kv: GpuKeys, into?: GpuPartial): Promise<GpuPartial> {
    const shape = this.#attendShape;
    const seen = visibility(q.block, kv.block, this.#shape.mask);
    if (seen.pairs === 0 && isLocal(this.#shape.mask)) return into ?? this.#partials.empty(q.block);
    const flops = attentionFlops(this.#shape, seen.pairs);
    const name = this.#choose(seen, flops);
    const pipeline = await this.#passes.compiled(hop, () => this.#kernels.attend(name, shape));
    const start = this.#recorder.begin(this.#kernels.ran.has(pipeline) ? "attend" : "compile", hop);
    const report = ({ start, duration }: PassTime) => {
      const peer = q.owner === this.#recorder.rank ? kv.owner : q.owner;
      this.#recorder.add("device", "attend", hop, start, { flops, peer }, duration);
      if (!isPieceKernel(name)) this.#kernels.tuner?.saw(shape, name, flops, duration);
    };
    this.#used.add(kernelName(name, shape));
    const call: Call = { hop, q, kv, into, seen, flops, pipeline, start, report };
    if (isPieceKernel(name)) return await this.#attendPieces(call, PIECE_KERNELS[name]);
    return await this.#attendTiles(call, TILE_KERNELS[name].tileRows);
  }

  /** A kernel of many query rows, which merges in its epilogue: one pass over the keys for each band of the mask. */
  async #attendTiles(call: Call, tileRows: number): Promise<GpuPartial> {
    const { q, kv, seen, flops, pipeline, start } = call;
    const { heads, kvHeads, scale } = this.#shape;
    const { software } = this.#gpu.facts;
    const { pace } = this.#kernels;
    const { views, bands } = seen;
    const passes = bands.map((band) => tiling.tilesOf({ views, band, group: heads / kvHeads, tileRows }));
    const all = passes[0].length;
    const parts = software ? 1 : tiling.spreadOf(all * kvHeads, tiling.longestTile(passes.at(-1)!));
    if (parts > 1 && passes.length === 1 && pace.tiles(flops / all) >= all) {
      return await this.#attendSpread(call, tiling.spreadTiles(passes[0], parts));
    }
    const partial = call.into ?? this.#partials.make(q.block);
    const fresh = call.into === undefined;
    const segments = passes.flatMap((tiles, i) =>
      tiling.segmentTiles(tiles, tiling.segmentKeys(software), fresh && i === 0)
        .map((table) => ({ ...table, band: bands[i] }))
    );
    const filled = segments.filter(({ count }) => count > 0);
    // A hop has a span even if no row of it sees a key.
    const tables = filled.length > 0 ? filled : segments.slice(0, 1);
    const flopsATile = flops / Math.max(1, tables.reduce((sum, { count }) => sum + count, 0));
    const uploads = new Map(bands.map((band) => [band, this.#buffers.upload(band, INPUT)]));
    let [began, ended] = [Infinity, 0];
    // Two submissions are under way at a time: the device goes from one to the next without waiting for the host.
    let before: Promise<void> | undefined;
    const buffers = tables.map(({ words }) => this.#buffers.upload(words, INPUT));
    for (const [i, { count, band }] of tables.entries()) {
      const bindings = [q.buffer, kv.k, kv.v, buffers[i], uploads.get(band)!, partial.o, partial.lse, kv.pages];
      for (let first = 0; first < count || first === 0;) {
        const some = Math.min(count - first, pace.tiles(flopsATile));
        const last = fresh && i === 0 ? 0 : 1;
        const params = this.#params({ heads, kvHeads, count: first + some, last, scale, first });
        const dispatches = [{ bindings: [params, ...bindings], groups: tiling.gridOf(some, kvHeads) }];
        const run = this.#passes.run({ pipeline, dispatches, start }).then(({ start: at, duration }) => {
          pace.saw(flopsATile * some, duration);
          [began, ended] = [Math.min(began, at), at + duration];
          this.#buffers.give(params);
        });
        run.catch(() => {}); // awaited below, unless the one before fails first
        await before;
        before = run;
        first += Math.max(1, some);
      }
    }
    await before;
    call.report({ start: began, duration: ended - began });
    this.#buffers.give(...buffers, ...uploads.values());
    return partial;
  }

  /** Too few tiles to fill the GPU: attends to parts of the keys in parallel, then merges. */
  async #attendSpread(call: Call, parts: readonly tiling.Table[]): Promise<GpuPartial> {
    const { hop, q, kv, into, seen, pipeline, start } = call;
    const { heads, kvHeads, scale } = this.#shape;
    const band = this.#buffers.upload(seen.bands[0], INPUT);
    // Each part has its own buffers: dispatches that write to the same one would wait for each other.
    const attends = parts.map(({ words, count }) => {
      const partial = this.#partials.make(q.block);
      const params = this.#params({ heads, kvHeads, count, last: 0, scale });
      const table = this.#buffers.upload(words, INPUT);
      const bindings = [params, q.buffer, kv.k, kv.v, table, band, partial.o, partial.lse, kv.pages];
      return { partial, held: [params, table], bindings, groups: tiling.gridOf(count, kvHeads) };
    });
    call.report(await this.#passes.run({ pipeline, dispatches: attends, start }));
    this.#buffers.give(band, ...attends.flatMap(({ held }) => held));
    const partials = [...attends.map(({ partial }) => partial), ...(into === undefined ? [] : [into])];
    const merged = partials[partials.length - 1];
    const stack = this.#partials.stack(q.block, partials.length, INPUT);
    await this.#partials.merge(hop, stack, merged, (encoder) => this.#partials.copyTo(stack, 0, partials, encoder));
    this.#buffers.give(stack.o, stack.lse, ...partials.slice(0, -1).flatMap(({ o, lse }) => [o, lse]));
    return merged;
  }

  /** A kernel of single query rows: their keys in pieces, then a merge of the pieces and of `into`. */
  async #attendPieces(call: Call, kernel: PieceKernel): Promise<GpuPartial> {
    const { hop, q, kv, into, seen, pipeline, start } = call;
    const { heads, kvHeads, scale } = this.#shape;
    const across = tiling.pieceGroups(heads, kvHeads);
    const { words, count, slots } = tiling.piecesOf(seen, kernel, across);
    const stack = this.#partials.stack(q.block, slots + (into === undefined ? 0 : 1), OUTPUT);
    const params = this.#params({ heads, kvHeads, count, last: q.block.rows, scale });
    const table = this.#buffers.upload(words, INPUT);
    const bindings = [params, q.buffer, kv.k, kv.v, table, kv.pages, stack.o, stack.lse];
    call.report(
      await this.#passes.run({
        pipeline,
        dispatches: [{ bindings, groups: tiling.gridOf(count, across) }],
        start,
        before: into && ((encoder) => this.#partials.copyTo(stack, slots, [into], encoder)),
      }),
    );
    this.#buffers.give(params, table);
    if (stack.parts === 1) return { block: q.block, o: stack.o, lse: stack.lse };
    const merged = into ?? this.#partials.make(q.block);
    await this.#partials.merge(hop, stack, merged);
    this.#buffers.give(stack.o, stack.lse);
    return merged;
  }

  async unload(hop: number, partial: GpuPartial, owner: number): Promise<RankChunk> {
    return rankChunk(owner, partial.block, await this.#partials.take(hop, partial));
  }

  async merge(own: GpuPartial, arrived: readonly RankChunk[]): Promise<GpuPartial> {
    if (arrived.length === 0) return own;
    const [oBytes, lseBytes] = this.#partials.bytes(own.block);
    const stack = this.#partials.stack(own.block, arrived.length + 1, INPUT);
    arrived.forEach((chunk, i) => {
      this.#buffers.write(stack.o, oBytes * (i + 1), chunk.data, 0, oBytes);
      this.#buffers.write(stack.lse, lseBytes * (i + 1), chunk.data, oBytes, lseBytes);
    });
    await this.#partials.merge(
      arrived.length,
      stack,
      own,
      (encoder) => this.#partials.copyTo(stack, 0, [own], encoder),
    );
    this.#buffers.give(stack.o, stack.lse);
    return own;
  }

  /** Reads some rows of a partial back. The partial stays on the device. */
  async copy(hop: number, partial: GpuPartial, rows: readonly Rows[]): Promise<ArrayBuffer> {
    return await this.#partials.read(hop, partial, rows);
  }

  /** Takes the final result off the device. */
  async result(partial: GpuPartial): Promise<ArrayBuffer> {
    return await this.#partials.take(0, partial);
  }

  /** Ends the experiment (see Buffers.end). */
  dispose(failed: boolean): void {
    this.#buffers.end(failed);
    this.#passes.end();
  }

  /** Makes the experiment fail with `reason` at its next step. */
  abandon(reason: unknown): void {
    this.#buffers.abandon(reason);
  }

  #params(params: tiling.AttendParams): GPUBuffer {
    return this.#buffers.upload(tiling.paramsOf(params), UNIFORM | COPY_DST);
  }
}
