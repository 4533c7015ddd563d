/** The merge kernel: bytes a second over stacked partial results. */
import { GpuAttention, type GpuPartial } from "../gpu/attention.ts";
import { rankChunk } from "../ring/chunk.ts";
import { block } from "../layout/shards.ts";
import { Recorder } from "../trace/clock.ts";
import { deviceSeconds } from "./attention-run.ts";
import type { Ceilings } from "./ceilings.ts";
import { type Heads, HEADS, shapeOf } from "./inputs.ts";
import type { Bench } from "./open.ts";
import { interleave, type Repeats, repeatsOf } from "./stats.ts";

/** A merge of `parts` partial results of `rows` query rows. */
export interface MergeFigures extends Heads {
  readonly rows: number;
  readonly parts: number;
  /** Every part's O and LSE read once, the merged ones written once. */
  readonly bytes: number;
  readonly seconds: Repeats;
  readonly bytesPerSecond: number;
  readonly ofCopyKernel: number;
}

/** Numbers of partial results: two ranks', eight ranks'. */
const PARTS = [2, 8];

// GPUBufferUsage's values.
const COPY_SRC = 0x4, COPY_DST = 0x8, STORAGE = 0x80;

/** Measures merges of as many rows as each size has tokens. */
export async function measureMerge(bench: Bench, ceilings: Ceilings, sizes: readonly number[], repeats: number, signal: AbortSignal): Promise<MergeFigures[]> {
  const figures: MergeFigures[] = [];
  for (const rows of sizes) {
    const heads = HEADS[0];
    const oBytes = rows * heads.heads * heads.headDim * 4;
    const lseBytes = rows * heads.heads * 4;
    const own: GpuPartial = { block: block([[{ start: 0, end: rows }]]), o: buffer(bench, oBytes), lse: buffer(bench, lseBytes) };
    const arrived = rankChunk(1, own.block, new ArrayBuffer(oBytes + lseBytes));
    try {
      const runs = await interleave(PARTS, repeats + 1, (parts) => timeMerge(bench, own, Array(parts - 1).fill(arrived), heads), signal);
      PARTS.forEach((parts, i) => {
        const seconds = repeatsOf(runs[i].slice(1)); // the first compiles
        const bytes = (parts + 1) * (oBytes + lseBytes);
        figures.push({ ...heads, rows, parts, bytes, seconds, bytesPerSecond: bytes / seconds.median, ofCopyKernel: bytes / seconds.median / ceilings.copy.kernel.max });
      });
    } finally {
      own.o.destroy();
      own.lse.destroy();
    }
  }
  return figures;
}

function buffer({ gpu }: Bench, size: number): GPUBuffer {
  return gpu.device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
}

async function timeMerge({ gpu, kernels, pool }: Bench, own: GpuPartial, arrived: Parameters<GpuAttention["merge"]>[1], heads: Heads): Promise<number> {
  const recorder = new Recorder(0, 0);
  const device = new GpuAttention(gpu, kernels, pool, shapeOf({ ...heads, sequences: [] }), recorder);
  let failed = true;
  try {
    await device.merge(own, arrived);
    failed = false;
    return deviceSeconds(recorder.spans, "merge");
  } finally {
    device.dispose(failed);
  }
}
