/** A sweep: every CP x TP x variant up to a number of GPUs, what fits, and the Pareto front of time against GPUs. */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { Turns } from "../turns.ts";
import { tpSizes } from "./heads.ts";
import { type Plan, plan, type PlanInput } from "./plan.ts";

/** Most GPUs of a sweep. */
export const MOST_GPUS = 4096;

/** What is swept: a step, and up to how many GPUs. */
export interface SweepInput
  extends Omit<PlanInput, "cp" | "tp" | "held" | "variant" | "spans" | "disturbance" | "everyRank"> {
  readonly maxGpus: number;
  /** Seconds wanted of the step; the smallest layout that reaches it is named. */
  readonly target?: number;
}

/** One layout of a sweep. */
export interface SweepRow {
  readonly cp: number;
  readonly tp: number;
  readonly gpus: number;
  readonly variant: Variant;
  /** Seconds of the step. */
  readonly seconds: number;
  readonly fits: boolean;
  /** Bytes needed a GPU. */
  readonly memory: number;
  readonly flopsPerGpu: number;
  readonly parallelEfficiency: number;
  /** It fits, and nothing that fits on as many GPUs or fewer is faster. */
  readonly pareto: boolean;
}

/** A sweep's result: rows by GPUs, then by time. */
export interface Sweep {
  readonly rows: readonly SweepRow[];
  readonly pareto: readonly SweepRow[];
  /** The fewest GPUs that reach the target, when one was given and something does. */
  readonly best?: SweepRow;
  /** One sentence: what reaches the target, or how near the fastest comes. */
  readonly summary: string;
}

/**
 * Sizes tried: powers of two for CP; for TP those that split the heads and fill a part of a host, a host, or whole
 * hosts.
 */
export function layouts(
  input: Pick<SweepInput, "model" | "cluster" | "maxGpus">,
): { readonly cp: number; readonly tp: number }[] {
  const { gpusPerHost } = input.cluster;
  const tps = tpSizes(input.model, Math.min(input.maxGpus, input.model.heads)).filter((
    tp,
  ) => (tp <= gpusPerHost ? gpusPerHost % tp === 0 : tp % gpusPerHost === 0));
  return tps.flatMap((tp) => {
    const largest = Math.floor(input.maxGpus / tp);
    return Array.from({ length: Math.floor(Math.log2(largest)) + 1 }, (_, i) => ({ cp: 2 ** i, tp }));
  });
}

/** Plans every layout. Errors: InputError when maxGpus is no count, or when nothing fits, saying what comes nearest. */
export async function sweep(input: SweepInput): Promise<Sweep> {
  if (!Number.isInteger(input.maxGpus) || input.maxGpus < 1 || input.maxGpus > MOST_GPUS) {
    throw new InputError(
      `maxGpus: found ${input.maxGpus}, expected a whole number from 1 to ${MOST_GPUS}: every layout is simulated`,
    );
  }
  const turns = new Turns(input.signal);
  const rows: SweepRow[] = [];
  let nearest: Plan | undefined;
  for (const { cp, tp } of layouts(input)) {
    for (const variant of cp === 1 ? (["pass-kv"] as const) : (["pass-kv", "pass-q"] as const)) {
      await turns.next();
      const p = await plan({ ...input, cp, tp, variant });
      if (nearest === undefined || p.memory.total < nearest.memory.total) nearest = p;
      rows.push({
        cp,
        tp,
        gpus: p.gpus,
        variant,
        seconds: p.seconds,
        fits: p.memory.fits,
        memory: p.memory.total,
        flopsPerGpu: p.flopsPerGpu,
        parallelEfficiency: p.parallelEfficiency,
        pareto: false,
      });
    }
  }
  rows.sort((a, b) => a.gpus - b.gpus || a.seconds - b.seconds || a.cp - b.cp);
  if (!rows.some((r) => r.fits)) {
    throw new InputError(
      `nothing fits on up to ${input.maxGpus} GPUs of ${input.cluster.accelerator.label}; the nearest, CP${
        nearest!.cp
      } x TP${nearest!.tp} in ${nearest!.variant}, ${nearest!.memory.summary}`,
    );
  }
  let fastest = Infinity;
  const marked = rows.map((row) => {
    const pareto = row.fits && row.seconds < fastest;
    if (pareto) fastest = row.seconds;
    return { ...row, pareto };
  });
  const pareto = marked.filter((r) => r.pareto);
  const best = input.target === undefined ? undefined : pareto.find((r) => r.seconds <= input.target!);
  return { rows: marked, pareto, ...(best === undefined ? {} : { best }), summary: summaryOf(pareto, best, input) };
}

function summaryOf(pareto: readonly SweepRow[], best: SweepRow | undefined, input: SweepInput): string {
  const fastest = pareto[pareto.length - 1];
  const say = (r: SweepRow) => `CP${r.cp} x TP${r.tp} (${r.gpus} GPUs) in ${r.variant}: ${r.seconds.toPrecision(4)} s`;
  if (input.target === undefined) return `fastest that fits: ${say(fastest)}`;
  return best === undefined
    ? `nothing that fits reaches ${input.target} s on up to ${input.maxGpus} GPUs; the fastest is ${say(fastest)}`
    : `fewest GPUs within ${input.target} s: ${say(best)}`;
}
