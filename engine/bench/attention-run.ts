/** Times one attention call on a device. Its inputs are on the device before it begins, and its result stays there. */
import { GpuAttention } from "../gpu/attention.ts";
import { chooseKernel } from "../gpu/choice.ts";
import type { KernelName } from "../gpu/kernels.ts";
import { keyChunk, queryChunk } from "../cluster/scatter.ts";
import { shard } from "../layout/shards.ts";
import { visibility } from "../layout/visibility.ts";
import type { RankChunk, Shape } from "../ring/chunk.ts";
import type { FixedInput } from "../cluster/in-process.ts";
import type { DType } from "../tensor/dtype.ts";
import { Recorder } from "../trace/clock.ts";
import type { Kind, Span } from "../trace/span.ts";
import { f32Shape } from "./inputs.ts";
import type { Bench } from "./open.ts";

/** An experiment's operands, as a device takes them. */
export interface Operands {
  readonly shape: Shape;
  readonly q: RankChunk;
  readonly kv: RankChunk;
}

/** What one call took, in seconds. */
export interface Timed {
  /** On the device: attention and, in decode, the merge of its pieces. */
  readonly device: number;
  /** On the host, from the call to the device's answer. */
  readonly wall: number;
  /** The kernel's name in reports. */
  readonly kernel: string;
}

/** Lays out an experiment's tensors for one rank, with keys and values in type `kv`. */
export function operandsOf(input: FixedInput, kv: DType = "f32"): Operands {
  const shape = { ...f32Shape(input), kv };
  const { queries, keys } = shard(input.sequences, 1);
  return { shape, q: queryChunk(0, queries[0], input, shape), kv: keyChunk(0, keys[0], input, shape) };
}

/** The sum of the device's spans of some kinds, in seconds. */
export function deviceSeconds(spans: readonly Span[], ...kinds: Kind[]): number {
  return spans.reduce((sum, s) => (s.lane === "device" && kinds.includes(s.kind) ? sum + s.duration : sum), 0);
}

/** The kernel that a device chooses for a call if nothing ran before. */
export function kernelOfCall({ gpu }: Bench, { shape, q, kv }: Operands): KernelName {
  const seen = visibility(q.block, kv.block, shape.mask);
  return chooseKernel({ seen, device: gpu, shape, work: 4 * shape.headDim * shape.heads * seen.pairs });
}

/**
 * Runs a call with kernel `only`, by default that of `kernelOfCall`. `take` gets O and LSE as one buffer, after the
 * call is timed.
 */
export async function timeAttention(
  bench: Bench,
  operands: Operands,
  only: KernelName = kernelOfCall(bench, operands),
  take?: (data: ArrayBuffer) => void,
): Promise<Timed> {
  const [{ gpu, kernels, pool }, { shape, q, kv }] = [bench, operands];
  const recorder = new Recorder(0, 0);
  const device = new GpuAttention(gpu, kernels, pool, shape, recorder, only);
  let failed = true;
  try {
    const queries = device.loadQueries(q, 0);
    const keys = device.loadKeys(kv, 0);
    await gpu.wait(gpu.device.queue.onSubmittedWorkDone());
    await bench.warmth?.up();
    const start = performance.now();
    const partial = await device.attend(0, queries, keys);
    const wall = (performance.now() - start) / 1000;
    if (take !== undefined) take(await device.result(partial));
    failed = false;
    return { device: deviceSeconds(recorder.spans, "attend", "merge"), wall, kernel: device.used.join("; ") };
  } finally {
    device.dispose(failed);
  }
}
