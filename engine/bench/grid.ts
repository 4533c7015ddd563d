/** The grid that a kernel has to pass before it is timed: the measured shapes with few tokens, against float64. */
import { GpuAttention } from "../gpu/attention.ts";
import { suitingPieceKernels, suitingTileKernels, tileKernelsOf } from "../gpu/choice.ts";
import { isPieceKernel, type KernelName, type MergeKernelName } from "../gpu/kernels.ts";
import { productsOf } from "../gpu/products.ts";
import { CAUSAL, type Mask, sayMask } from "../layout/mask.ts";
import type { Sequence } from "../layout/shards.ts";
import { attendInProcess } from "../cluster/in-process.ts";
import { check, expect, type ExpectedRow } from "../reference/check.ts";
import type { Difference } from "../reference/error.ts";
import type { Variant } from "../ring/contract.ts";
import type { DType } from "../tensor/dtype.ts";
import { operandsOf, timeAttention } from "./attention-run.ts";
import { type Heads, inputOf } from "./inputs.ts";
import type { Bench } from "./open.ts";

/** Types of keys and values that are measured. */
export type StoredType = "f32" | "f16";

/** One kernel's result on the grid. */
export interface KernelCheck {
  readonly kernel: KernelName;
  /** The stored type of keys and values. */
  readonly kv: StoredType;
  readonly cases: number;
  readonly failed: readonly string[];
  /** Largest differences from float64. */
  readonly worst: { readonly out: number; readonly lse: number };
  readonly passed: boolean;
  /**
   * Seconds until each head size could run: pipeline, then a first dispatch on few tokens (some drivers compile there).
   */
  readonly compile: readonly { readonly headDim: number; readonly pipeline: number; readonly firstRun: number }[];
}

/** A batch of the grid. */
export interface Case {
  readonly sequences: readonly Sequence[];
  readonly mask: Mask;
  /** N. The ring is pass-Q, so that the check includes its merge. */
  readonly ranks: number;
}

/** A batch with its heads. `wire`: the type of what travels, and the variant that sends it (default f32, pass-Q). */
export interface GridCase extends Case, Heads {
  readonly wire?: { readonly dtype: DType; readonly variant: Variant };
}

/** A kernel's result on one case. */
export interface CaseResult {
  readonly label: string;
  readonly out: Difference;
  readonly lse: Difference;
  readonly passed: boolean;
  /** Whether merge.wgsl ran. */
  readonly merged: boolean;
}

/**
 * Ragged lengths, several KV tiles, a mask without a diagonal, bands that begin anywhere, a second one for sink tokens,
 * a batch that needs merging.
 */
export const TILES: readonly Case[] = [
  { sequences: [{ new: 77, cached: 0 }], mask: CAUSAL, ranks: 1 },
  { sequences: [{ new: 50, cached: 0 }], mask: { kind: "full" }, ranks: 1 },
  { sequences: [{ new: 19, cached: 90 }], mask: CAUSAL, ranks: 1 },
  { sequences: [{ new: 70, cached: 41 }], mask: { kind: "window", size: 37, sinkTokens: 3 }, ranks: 1 },
  { sequences: [{ new: 50, cached: 9 }, { new: 20, cached: 5 }], mask: { kind: "chunk", size: 23 }, ranks: 2 },
  { sequences: [{ new: 7, cached: 3 }, { new: 1, cached: 40 }, { new: 33, cached: 0 }], mask: CAUSAL, ranks: 3 },
];

/** One query row per sequence, more keys than a piece holds, and pieces that begin anywhere. */
export const SINGLE: readonly Case[] = [
  { sequences: [{ new: 1, cached: 599 }], mask: CAUSAL, ranks: 1 },
  {
    sequences: [{ new: 1, cached: 299 }, { new: 1, cached: 20 }],
    mask: { kind: "window", size: 201, sinkTokens: 5 },
    ranks: 1,
  },
  { sequences: [{ new: 1, cached: 0 }, { new: 1, cached: 300 }], mask: CAUSAL, ranks: 2 },
];

/** The types measured on a device: f16 too if it has matrix units, which take nothing else. */
export function storedTypes({ gpu }: Bench): readonly StoredType[] {
  return gpu.matrices ? ["f32", "f16"] : ["f32"];
}

/**
 * The kernels that suit a device and a shape, whatever the work, its first choice first; and the one of matrix units if
 * the device can run it.
 */
export function kernelsOf({ gpu }: Bench, headDim: number, kv: StoredType): readonly KernelName[] {
  const shape = { headDim, q: "f32", kv } as const;
  return [
    ...suitingTileKernels(gpu, shape, Infinity),
    ...tileKernelsOf(gpu, shape).filter((name) => name === "attend-matrix"),
    ...suitingPieceKernels(gpu, shape),
  ];
}

/** Checks every kernel that suits the device on every head shape. */
export async function checkKernels(
  bench: Bench,
  shapes: readonly Heads[],
  signal?: AbortSignal,
): Promise<KernelCheck[]> {
  const checks: KernelCheck[] = [];
  const oracles = new Map<string, readonly ExpectedRow[]>();
  const all = storedTypes(bench).flatMap((kv) =>
    [...new Set(shapes.flatMap(({ headDim }) => kernelsOf(bench, headDim, kv)))].map((kernel) => ({ kernel, kv }))
  );
  for (const { kernel, kv } of all) {
    const failed: string[] = [];
    const worst = { out: 0, lse: 0 };
    const compile: KernelCheck["compile"][number][] = [];
    const taken = shapes.filter(({ headDim }) => kernelsOf(bench, headDim, kv).includes(kernel));
    for (const { headDim } of taken) compile.push({ headDim, ...(await compiled(bench, kernel, headDim, kv)) });
    const wire = kv === "f32" ? {} : { wire: { dtype: kv, variant: "pass-kv" as const } };
    const cases = taken.flatMap((heads) =>
      (isPieceKernel(kernel) ? SINGLE : TILES).map((c) => ({ ...heads, ...c, ...wire }))
    );
    for (const c of cases) {
      signal?.throwIfAborted();
      const { label, out, lse, passed } = await checkCase(bench, kernel, c, oracles);
      worst.out = Math.max(worst.out, out.max);
      worst.lse = Math.max(worst.lse, lse.max);
      if (!passed) failed.push(`${label}: out off by ${out.max}, lse by ${lse.max}`);
    }
    checks.push({ kernel, kv, cases: cases.length, failed, worst, passed: failed.length === 0, compile });
  }
  return checks;
}

/**
 * Runs one case on one device, all its ranks in turns, and compares the result with float64. `oracles` keeps the
 * expected rows for the next kernel. `take` gets LSE.
 */
export async function checkCase(
  bench: Bench,
  kernel: KernelName | MergeKernelName | undefined,
  c: GridCase,
  oracles: Map<string, readonly ExpectedRow[]>,
  take?: (lse: Float32Array) => void,
): Promise<CaseResult> {
  const { wire = { dtype: "f32", variant: "pass-q" } } = c;
  const input = { ...inputOf(c), variant: wire.variant, wireDtype: wire.dtype };
  const judged = { ...input, ranks: c.ranks, products: productsOf(kernel ?? "") };
  const key = JSON.stringify([c, judged.products]);
  const expected = oracles.get(key) ?? expect(judged);
  oracles.set(key, expected);
  const result = await attendInProcess(
    input,
    c.ranks,
    (shape, recorder) => new GpuAttention(bench.gpu, bench.kernels, bench.pool, shape, recorder, kernel),
  );
  take?.(result.lse);
  const { out, lse, passed } = check(judged, result, expected);
  const batch = c.sequences.map((s) => `${s.new}:${s.cached}`).join(",");
  const label = `T:P ${batch}, ${sayMask(c.mask)}, heads ${c.heads}/${c.kvHeads}, D ${c.headDim}, N ${c.ranks}${
    wire.dtype === "f32" ? "" : `, ${wire.variant} in ${wire.dtype}`
  }`;
  return { label, out, lse, passed, merged: result.spans.some((span) => span.kind === "merge") };
}

/** Compiles a kernel and runs it once on one token. */
async function compiled(
  bench: Bench,
  kernel: KernelName,
  headDim: number,
  kv: StoredType,
): Promise<{ pipeline: number; firstRun: number }> {
  const before = bench.kernels.compileSeconds;
  const { wall } = await timeAttention(
    bench,
    operandsOf(inputOf({ heads: 1, kvHeads: 1, headDim, sequences: [{ new: 1, cached: 0 }] }), kv),
    kernel,
  );
  const pipeline = bench.kernels.compileSeconds - before;
  return { pipeline, firstRun: Math.max(0, wall - pipeline) };
}
