/** Times each kernel on each shape: seconds, rates, and their share of the adapter's ceiling. */
import { isPieceKernel, type KernelName } from "../gpu/kernels.ts";
import { kernelOfCall, operandsOf, timeAttention } from "./attention-run.ts";
import type { Ceilings } from "./ceilings.ts";
import { kernelsOf, type StoredType, storedTypes } from "./grid.ts";
import { bytesOf, flopsOf, HEADS, type Heads, inputOfMeasured, type Measured, measuredAt } from "./inputs.ts";
import type { Bench } from "./open.ts";
import { interleave, ratio, type Repeats, repeatsOf } from "./stats.ts";

/** One kernel on one shape. */
export interface KernelFigures {
  readonly kernel: KernelName;
  /** Its name in reports, with tiles and types. */
  readonly name: string;
  /** Whether this device chooses it for this call, if no kernel is named and nothing ran before. */
  readonly chosen: boolean;
  readonly shape: Measured & { readonly dtype: StoredType };
  /** 4 D for each visible pair and query head. */
  readonly flops: number;
  /** Least bytes that have to move. */
  readonly bytes: number;
  /** On the device. */
  readonly seconds: Repeats;
  /** On the host, from the call to the answer. */
  readonly wallSeconds: Repeats;
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Shares of the measured multiply-add rate, of the copying kernel's bandwidth and of the copy command's. */
  readonly ofMultiplyAdd: number;
  /** Share of the measured rate of matrix products; only for the kernel that uses them. */
  readonly ofMatrix?: number | undefined;
  readonly ofCopyKernel: number;
  readonly ofCopyCommand: number;
}

/** Measures every kernel that suits the device at every size. Those of one size and head shape run in turns. */
export async function measureKernels(
  bench: Bench,
  ceilings: Ceilings,
  sizes: readonly number[],
  repeats: number,
  signal: AbortSignal,
  progress: (what: string) => void,
): Promise<KernelFigures[]> {
  const figures: KernelFigures[] = [];
  for (const size of sizes) {
    for (const heads of HEADS) {
      for (const kv of storedTypes(bench)) {
        progress(
          `kernels at ${size} tokens, heads ${heads.heads}/${heads.kvHeads}, D ${heads.headDim}${
            kv === "f32" ? "" : `, K and V ${kv}`
          }`,
        );
        figures.push(...(await atSize(bench, ceilings, size, heads, kv, repeats, signal)));
      }
    }
  }
  return figures;
}

async function atSize(
  bench: Bench,
  ceilings: Ceilings,
  size: number,
  heads: Heads,
  kv: StoredType,
  repeats: number,
  signal: AbortSignal,
): Promise<KernelFigures[]> {
  const calls = measuredAt(size, heads).flatMap((shape) => {
    const operands = operandsOf(inputOfMeasured(shape), kv);
    return kernelsOf(bench, shape.headDim, kv).filter((kernel) => isPieceKernel(kernel) === (shape.mask === "decode"))
      .map((kernel) => ({ shape, kernel, operands }));
  });
  const run = ({ operands, kernel }: (typeof calls)[number]) => timeAttention(bench, operands, kernel);
  await interleave(calls, 1, run, signal); // buffers are made, clocks rise
  const runs = await interleave(calls, repeats, run, signal);
  return calls.map(({ shape, kernel, operands }, i): KernelFigures => {
    const seconds = repeatsOf(runs[i].map((run) => run.device));
    const [flops, bytes] = [flopsOf(shape), bytesOf(shape, kv)];
    const [flopsPerSecond, bytesPerSecond] = [ratio(flops, seconds.median) ?? NaN, ratio(bytes, seconds.median) ?? NaN];
    return {
      kernel,
      name: runs[i][0].kernel,
      chosen: kernel === kernelOfCall(bench, operands),
      shape: { ...shape, dtype: kv },
      flops,
      bytes,
      seconds,
      wallSeconds: repeatsOf(runs[i].map((run) => run.wall)),
      flopsPerSecond,
      bytesPerSecond,
      ofMultiplyAdd: flopsPerSecond / ceilings.f32.flopsPerSecond,
      ofMatrix: kernel === "attend-matrix" && ceilings.matrix !== undefined
        ? flopsPerSecond / ceilings.matrix.max
        : undefined,
      ofCopyKernel: bytesPerSecond / ceilings.copy.kernel.max,
      ofCopyCommand: bytesPerSecond / ceilings.copy.command.max,
    };
  });
}
