/**
 * Rows of a seeded attention on this machine's GPU: it makes keys and values tile by tile, and the ring's own kernels
 * attend to them.
 */
import { GpuAttention, type GpuPartial } from "../../gpu/attention.ts";
import { Kernels } from "../../gpu/pipelines.ts";
import { Pool } from "../../gpu/pool.ts";
import { NoAdapterError } from "../../errors.ts";
import { openDevice } from "../../gpu/device.ts";
import { type Block, offsets, type Run } from "../../layout/shards.ts";
import { mergeSinks, outcomeOf, publicLse, rankChunk, type Shape } from "../../ring/chunk.ts";
import { valueHead } from "../../tensor/heads.ts";
import { SEEDED_IDS, seededRows, type SeededTensor } from "../../tensor/seeded.ts";
import { now, Recorder } from "../../trace/clock.ts";
import { maskFrom } from "../../layout/mask.ts";
import { countWithin, seenBy } from "../attention.ts";
import type { VerifyPlatform } from "./platform.ts";
import type { IndexedRows, Sink, VerifyInput } from "./types.ts";

/** Bytes of K, and of V, that one tile may take. */
const TILE_BYTES = 2 ** 24;
/** Most keys of a tile: enough that a submission is not all overhead. */
const MOST_KEYS = 16_384;
// GPUBufferUsage's values (WebGPU specification): Node has no such global.
const COPY_DST = 0x8, UNIFORM = 0x40, STORAGE = 0x80;
const MAX_GROUPS = 65535;

/**
 * Computes the rows, f32. All heads of a row's token are computed, as the kernels pack a GQA group. Errors:
 * NoAdapterError, the signal's reason.
 */
export async function onGpu(
  platform: VerifyPlatform,
  input: VerifyInput,
  rows: IndexedRows,
  sink: Sink,
): Promise<void> {
  if (rows.length === 0) return;
  if (platform.threadGpu === undefined) {
    throw new NoAdapterError(`the runtime ${platform.runtime} gives this thread no GPU: verify with "float64"`);
  }
  const { gpu: own, wait, blockingCompile } = await platform.threadGpu();
  const gpu = await openDevice(own, wait);
  const kernels = new Kernels(gpu, await platform.shaders(), blockingCompile);
  const pool = new Pool(gpu.device);
  try {
    const lost = gpu.device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") {
        throw new Error(`verification: the GPU device was lost (${message || "no reason given"})`);
      }
      return new Promise<never>(() => {});
    });
    // A submission that the device rejects leaves wrong numbers, not an exception.
    const refused = new Promise<never>((_, reject) =>
      gpu.device.onuncapturederror = ({ error }) => reject(new Error(`verification: the GPU refused: ${error.message}`))
    );
    await Promise.race([sweep(input, rows, sink, gpu, kernels, pool), lost, refused]);
  } finally {
    await kernels.settled();
    pool.destroy();
    gpu.device.destroy();
  }
}

async function sweep(
  input: VerifyInput,
  rows: IndexedRows,
  sink: Sink,
  gpu: Awaited<ReturnType<typeof openDevice>>,
  kernels: Kernels,
  pool: Pool,
): Promise<void> {
  const { seed, sequences, heads, kvHeads, headDim: D, sinks, dtype = "f32", signal } = input;
  const { valueDim, valuesInKeys } = valueHead(input);
  const { device } = gpu;
  const scale = input.scale ?? 1 / Math.sqrt(D);
  const tokens = [...new Set(rows.map(([, [token]]) => token))].sort((a, b) => a - b);
  const newStarts = offsets(sequences.map((s) => s.new));
  const allStarts = offsets(sequences.map((s) => s.new + s.cached));
  const runs = tokens.map((token, row): Run => {
    const { sequence } = seenBy(input, token);
    return { sequence, start: sequences[sequence].cached + token - newStarts[sequence], length: 1, row };
  });
  const block: Block = { runs, rows: tokens.length };
  const q = new Float32Array(tokens.length * heads * D);
  tokens.forEach((token, i) => q.set(seededRows(seed, "q", token, 1, heads * D), i * heads * D));

  // sqrt(sum p^2) is in the LSE of twice the scores; only the 16-bit bar asks for it.
  const scales = dtype === "f32" ? [scale] : [scale, 2 * scale];
  const passes = scales.map((s) => {
    const shape: Shape = {
      heads,
      kvHeads,
      headDim: D,
      valueDim,
      valuesInKeys,
      scale: s,
      mask: maskFrom(input),
      q: "f32",
      kv: "f32",
    };
    const attention = new GpuAttention(gpu, kernels, pool, shape, new Recorder(0, now()));
    return {
      attention,
      queries: attention.loadQueries(rankChunk(0, block, q.slice().buffer), 0),
      partial: undefined as GpuPartial | undefined,
    };
  });
  const widths = { k: kvHeads * D, v: kvHeads * valueDim };
  const widest = Math.max(widths.k, widths.v);
  const fit = Math.floor(Math.min(TILE_BYTES, device.limits.maxStorageBufferBindingSize) / (widest * 4));
  const tileKeys = Math.max(4, Math.floor(Math.min(MOST_KEYS, fit) / 4) * 4);
  const [k, v] = (["k", "v"] as const).map((name) => pool.take(tileKeys * widths[name] * 4, STORAGE | COPY_DST));
  const params = pool.take(32, UNIFORM | COPY_DST);
  const pipeline = await kernels.seeded();
  const groups = { k: bind(device, pipeline, params, k), v: bind(device, pipeline, params, v) };
  const make = (tensor: SeededTensor & ("k" | "v"), first: number, count: number) => {
    const width = widths[tensor];
    device.queue.writeBuffer(params, 0, Uint32Array.of(seed, SEEDED_IDS[tensor], first, count, width));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, groups[tensor]);
    pass.dispatchWorkgroups(Math.min(MAX_GROUPS, Math.ceil((count * width) / 64)));
    pass.end();
    device.queue.submit([encoder.finish()]);
  };

  for (const sequence of new Set(runs.map((run) => run.sequence))) {
    const seen = rows.map(([, [token]]) => seenBy(input, token)).filter((one) => one.sequence === sequence)
      .map(({ ranges }) => ranges);
    const last = Math.max(...seen.flat().map(({ to }) => to));
    for (let first = 0; first < last; first += tileKeys) {
      signal?.throwIfAborted();
      const count = Math.min(tileKeys, last - first);
      const pairs = seen.reduce((sum, ranges) => sum + countWithin(ranges, first, first + count), 0);
      if (pairs === 0) continue;
      // The kernels load whole groups of 4: the rows past the end are some other tokens', which nobody sees.
      const whole = Math.ceil(count / 4) * 4;
      make("k", allStarts[sequence] + first, whole);
      if (!valuesInKeys) make("v", allStarts[sequence] + first, whole);
      const keys: Block = { runs: [{ sequence, start: first, length: count, row: 0 }], rows: whole };
      for (const pass of passes) {
        pass.partial = await pass.attention.attend(
          0,
          pass.queries,
          pass.attention.keysAt(keys, { buffer: k }, { buffer: valuesInKeys ? k : v }),
          pass.partial,
        );
      }
      sink.pairs(pairs);
    }
  }

  const [main, twice] = await Promise.all(passes.map(async ({ attention, partial }, i) => {
    const data = await attention.result(partial!);
    const shape = { heads, valueDim };
    if (sinks !== undefined && i === 0) mergeSinks(data, shape, sinks);
    const { o, lse } = outcomeOf(data, shape);
    return { out: o, lse: publicLse(lse) };
  }));
  const places = new Map(tokens.map((token, i) => [token, i]));
  for (const [index, [token, head]] of rows) {
    const at = places.get(token)! * heads + head;
    const lse = main.lse[at];
    sink.row({
      index,
      keys: seenBy(input, token).keys,
      out: Float64Array.from(main.out.subarray(at * valueDim, (at + 1) * valueDim)),
      lse,
      spread: twice === undefined ? 1 : Math.exp(twice.lse[at] / 2 - lse),
    });
  }
  for (const { attention } of passes) attention.dispose(false);
}

function bind(device: GPUDevice, pipeline: GPUComputePipeline, params: GPUBuffer, values: GPUBuffer): GPUBindGroup {
  return device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: params } }, { binding: 1, resource: { buffer: values } }],
  });
}
