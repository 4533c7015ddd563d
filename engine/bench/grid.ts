/** The correctness grid that a kernel passes before it is timed: the shapes that are measured, in small, against float64. */
import { GpuAttention } from "../gpu/attention.ts";
import { type KernelName, suitingTileKernels } from "../gpu/kernels.ts";
import type { Sequence } from "../layout/shards.ts";
import { attendInProcess } from "../cluster/in-process.ts";
import { check } from "../reference/check.ts";
import { reference } from "../reference/attention.ts";
import { operandsOf, timeAttention } from "./attention-run.ts";
import { type Heads, inputOf } from "./inputs.ts";
import type { Bench } from "./open.ts";

/** How one kernel did on the grid. */
export interface KernelCheck {
  readonly kernel: KernelName;
  readonly cases: number;
  readonly failed: readonly string[];
  /** Largest differences from float64. */
  readonly worst: { readonly out: number; readonly lse: number };
  readonly passed: boolean;
  /** Seconds until each head size could run: the pipeline, then a first dispatch on few tokens (some drivers compile there). */
  readonly compile: readonly { readonly headDim: number; readonly pipeline: number; readonly firstRun: number }[];
}

interface Case {
  readonly sequences: readonly Sequence[];
  readonly causal: boolean;
  /** N, by pass-Q: its merge kernel is checked with it. */
  readonly ranks: number;
}

/** Ragged lengths, several KV tiles, a batch, a mask without a diagonal; the last two take merging. */
const TILES: readonly Case[] = [
  { sequences: [{ new: 77, cached: 0 }], causal: true, ranks: 1 },
  { sequences: [{ new: 50, cached: 0 }], causal: false, ranks: 1 },
  { sequences: [{ new: 19, cached: 90 }], causal: true, ranks: 1 },
  { sequences: [{ new: 7, cached: 3 }, { new: 1, cached: 40 }, { new: 33, cached: 0 }], causal: true, ranks: 3 },
];

/** One query row a sequence, more keys than a piece holds. */
const SINGLE: readonly Case[] = [
  { sequences: [{ new: 1, cached: 599 }], causal: true, ranks: 1 },
  { sequences: [{ new: 1, cached: 0 }, { new: 1, cached: 300 }], causal: true, ranks: 2 },
];

/** The kernels that suit a device, the one it would choose first. */
export function kernelsOf(bench: Bench): readonly KernelName[] {
  return [...suitingTileKernels(bench.gpu), "decode"];
}

/** Checks every kernel that suits the device on every head shape. */
export async function checkKernels(bench: Bench, shapes: readonly Heads[], signal?: AbortSignal): Promise<KernelCheck[]> {
  const checks: KernelCheck[] = [];
  const oracles = new Map<string, ReturnType<typeof reference>>();
  for (const kernel of kernelsOf(bench)) {
    const failed: string[] = [];
    const worst = { out: 0, lse: 0 };
    const compile: KernelCheck["compile"][number][] = [];
    for (const { headDim } of shapes) compile.push({ headDim, ...(await compiled(bench, kernel, headDim)) });
    const cases = shapes.flatMap((heads) => (kernel === "decode" ? SINGLE : TILES).map((c) => ({ ...heads, ...c })));
    for (const c of cases) {
      signal?.throwIfAborted();
      const input = { ...inputOf(c), variant: "pass-q" as const };
      const key = JSON.stringify(c);
      const exact = oracles.get(key) ?? reference(input);
      oracles.set(key, exact);
      const result = await attendInProcess(input, c.ranks, (shape, recorder) => new GpuAttention(bench.gpu, bench.kernels, bench.pool, shape, recorder, kernel));
      const { out, lse, passed } = check(input, result, exact);
      worst.out = Math.max(worst.out, out.max);
      worst.lse = Math.max(worst.lse, lse.max);
      const batch = c.sequences.map((s) => `${s.new}:${s.cached}`).join(",");
      if (!passed) failed.push(`T:P ${batch}, ${c.causal ? "causal" : "full"}, heads ${c.heads}/${c.kvHeads}, D ${c.headDim}, N ${c.ranks}: out off by ${out.max}, lse by ${lse.max}`);
    }
    checks.push({ kernel, cases: cases.length, failed, worst, passed: failed.length === 0, compile });
  }
  return checks;
}

/** Compiles a kernel and runs it once on one token. */
async function compiled(bench: Bench, kernel: KernelName, headDim: number): Promise<{ pipeline: number; firstRun: number }> {
  const before = bench.kernels.compileSeconds;
  const { wall } = await timeAttention(bench, operandsOf(inputOf({ heads: 1, kvHeads: 1, headDim, causal: true, sequences: [{ new: 1, cached: 0 }] })), kernel);
  const pipeline = bench.kernels.compileSeconds - before;
  return { pipeline, firstRun: Math.max(0, wall - pipeline) };
}
