/** How many tokens one rank can take: memory and time of a whole causal prefill as tokens double. */
import { reference } from "../reference/attention.ts";
import { difference } from "../reference/error.ts";
import { Pool } from "../gpu/pool.ts";
import { operandsOf, timeAttention } from "./attention-run.ts";
import { flopsOf, type Heads, inputOfMeasured, type Measured } from "./inputs.ts";
import type { Bench } from "./open.ts";

/** One causal prefill of `tokens` on one rank. */
export interface ReachFigures extends Heads {
  readonly tokens: number;
  /** Bytes of all buffers on the device: operands, O, LSE, tiles. */
  readonly bytes: number;
  /** On the device, one run. */
  readonly seconds: number;
  readonly flopsPerSecond: number;
  /** Largest error of O against float64 in three rows: the first, the middle one, the last. */
  readonly maxError: number;
  /** Whether those rows are within the tolerance of f32. */
  readonly passed: boolean;
}

/** Default tokens: up to the reach that one rank should have. */
export const REACH_SIZES = [8192, 16384, 32768, 65536];
/** One small head: time is quadratic, and a software adapter should end within minutes. */
const HEADS: Heads = { heads: 1, kvHeads: 1, headDim: 32 };

/** Measures each size once, with new buffers. */
export async function measureReach(
  bench: Bench,
  sizes: readonly number[],
  signal: AbortSignal,
  progress: (what: string) => void,
): Promise<ReachFigures[]> {
  const figures: ReachFigures[] = [];
  for (const tokens of sizes) {
    signal.throwIfAborted();
    progress(`reach: ${tokens} tokens`);
    const shape: Measured = { ...HEADS, mask: "causal", tokens, cached: 0, causal: true };
    const input = inputOfMeasured(shape);
    const pool = new Pool(bench.gpu.device);
    try {
      let out = new Float32Array();
      const { device } = await timeAttention(
        { ...bench, pool },
        operandsOf(input),
        undefined,
        (data) => (out = new Float32Array(data, 0, tokens * HEADS.headDim)),
      );
      figures.push({
        ...HEADS,
        tokens,
        bytes: pool.bytes,
        seconds: device,
        flopsPerSecond: flopsOf(shape) / device,
        ...errorOf(input, out),
      });
    } finally {
      pool.destroy();
    }
  }
  return figures;
}

/** The error of three rows, each recomputed as one token over the keys that it sees. */
function errorOf(
  { q, k, v }: { readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array },
  out: Float32Array,
): Pick<ReachFigures, "maxError" | "passed"> {
  const D = HEADS.headDim;
  const tokens = out.length / D;
  const rows = [0, Math.floor(tokens / 2), tokens - 1].map((row) => {
    const keys = (row + 1) * D;
    const exact = reference({
      ...HEADS,
      q: q.subarray(row * D, keys),
      k: k.subarray(0, keys),
      v: v.subarray(0, keys),
      sequences: [{ new: 1, cached: row }],
    });
    return difference(out.subarray(row * D, keys), exact.out);
  });
  return { maxError: Math.max(...rows.map((r) => r.max)), passed: rows.every((r) => r.within) };
}
