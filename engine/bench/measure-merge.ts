/** Times the merge kernels: bytes a second over stacked partial results. */
import { GpuAttention, type GpuPartial } from "../gpu/attention.ts";
import type { Gpu } from "../gpu/device.ts";
import type { MergeKernelName } from "../gpu/kernels.ts";
import { COPY_DST, COPY_SRC, MAP_READ, READ, STORAGE } from "../gpu/usage.ts";
import { type RankChunk, rankChunk } from "../ring/chunk.ts";
import { block } from "../layout/shards.ts";
import { seededRows } from "../tensor/seeded.ts";
import { Recorder } from "../trace/clock.ts";
import { deviceSeconds } from "./attention-run.ts";
import type { Ceilings } from "./ceilings.ts";
import { f32Shape, HEADS, type Heads } from "./inputs.ts";
import type { Bench } from "./open.ts";
import { interleave, type Repeats, repeatsOf } from "./stats.ts";

/** A merge of `parts` partial results of `rows` query rows. */
export interface MergeFigures extends Heads {
  readonly rows: number;
  readonly parts: number;
  /** O and LSE of every part once in, the merged ones once out. */
  readonly bytes: number;
  readonly seconds: Repeats;
  readonly bytesPerSecond: number;
  readonly ofCopyKernel: number;
}

/** Numbers of partial results: of two ranks, of eight. */
const PARTS = [2, 8];

/** Measures merges with as many rows as each size has tokens. */
export async function measureMerge(
  bench: Bench,
  ceilings: Ceilings,
  sizes: readonly number[],
  repeats: number,
  signal: AbortSignal,
): Promise<MergeFigures[]> {
  const figures: MergeFigures[] = [];
  for (const rows of sizes) {
    const rigs = PARTS.map((parts) => mergeRig(bench, rows, parts));
    try {
      const runs = await interleave(rigs, repeats + 1, (rig) => rig.run(bench), signal);
      rigs.forEach(({ parts, bytes }, i) => {
        const seconds = repeatsOf(runs[i].slice(1)); // the first compiles
        figures.push({
          ...HEADS[0],
          rows,
          parts,
          bytes,
          seconds,
          bytesPerSecond: bytes / seconds.median,
          ofCopyKernel: bytes / seconds.median / ceilings.copy.kernel.max,
        });
      });
    } finally {
      for (const rig of rigs) rig.dispose();
    }
  }
  return figures;
}

/**
 * A merge of `parts` partial results of `rows` rows, at the first of the measured head shapes, with `kernel` if one is
 * named. `run` resolves to the device's seconds. `take` gets O and LSE as one buffer.
 */
export function mergeRig({ gpu }: Bench, rows: number, parts: number, kernel?: MergeKernelName) {
  const heads = HEADS[0];
  const oBytes = rows * heads.heads * heads.headDim * 4;
  const lseBytes = rows * heads.heads * 4;
  const buffer = (size: number) => gpu.device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  const own: GpuPartial = { block: block([[{ start: 0, end: rows }]]), o: buffer(oBytes), lse: buffer(lseBytes) };
  const partOf = (seed: number) => {
    const data = new Float32Array((oBytes + lseBytes) / 4);
    data.set(seededRows(seed, "v", 0, rows, heads.heads * heads.headDim));
    data.set(seededRows(seed, "q", 0, rows, heads.heads), oBytes / 4);
    return data;
  };
  const [part, other] = [partOf(7), partOf(8)];
  const arrived = Array<RankChunk>(parts - 1).fill(rankChunk(1, own.block, other.buffer));
  return {
    label: `merge of ${parts} parts, ${rows} rows, H ${heads.heads}, D ${heads.headDim}`,
    parts,
    /** O and LSE of a part. */
    partial: (index: number) => (index === 0 ? part : other),
    bytes: (parts + 1) * (oBytes + lseBytes),
    run: async (bench: Bench, take?: (data: ArrayBuffer) => void): Promise<number> => {
      // The result overwrites `own`: write it anew, so that every run begins the same.
      gpu.device.queue.writeBuffer(own.o, 0, part, 0, oBytes / 4);
      gpu.device.queue.writeBuffer(own.lse, 0, part, oBytes / 4);
      const seconds = await timeMerge(bench, own, arrived, heads, kernel);
      take?.(await read(gpu, [own.o, own.lse]));
      return seconds;
    },
    dispose: () => {
      own.o.destroy();
      own.lse.destroy();
    },
  };
}

async function timeMerge(
  { gpu, kernels, pool, warmth }: Bench,
  own: GpuPartial,
  arrived: readonly RankChunk[],
  heads: Heads,
  kernel: MergeKernelName | undefined,
): Promise<number> {
  const recorder = new Recorder(0, 0);
  const device = new GpuAttention(gpu, kernels, pool, f32Shape({ ...heads, sequences: [] }), recorder, kernel);
  let failed = true;
  try {
    await warmth?.up();
    await device.merge(own, arrived);
    failed = false;
    return deviceSeconds(recorder.spans, "merge");
  } finally {
    device.dispose(failed);
  }
}

/** The contents of buffers, one after another. */
async function read({ device, wait }: Gpu, buffers: readonly GPUBuffer[]): Promise<ArrayBuffer> {
  const size = buffers.reduce((sum, b) => sum + b.size, 0);
  const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  buffers.reduce((at, b) => (encoder.copyBufferToBuffer(b, 0, staging, at, b.size), at + b.size), 0);
  device.queue.submit([encoder.finish()]);
  await wait(staging.mapAsync(READ));
  const data = staging.getMappedRange().slice(0);
  staging.destroy();
  return data;
}
