/** Plans every CP x TP x variant up to a number of GPUs, and finds the Pareto front of time against GPUs. */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { CAUSAL } from "../layout/mask.ts";
import type { Dealing } from "../layout/shards.ts";
import { Turns } from "../turns.ts";
import { tpSizes } from "./heads.ts";
import { ranksAlike } from "./calls.ts";
import { masksOf } from "./models.ts";
import { type Plan, plan } from "./plan.ts";
import type { PlanInput } from "./plan-input.ts";
import { EVERY_RANK_UP_TO } from "./work.ts";

/** The most GPUs of a sweep. */
export const MOST_GPUS = 4096;

/** The step of a sweep, and the most GPUs to try. */
export interface SweepInput
  extends Omit<PlanInput, "cp" | "tp" | "held" | "variant" | "spans" | "disturbance" | "everyRank"> {
  /** The most GPUs to try, at most MOST_GPUS. */
  readonly maxGpus: number;
  /** Target time of the step in seconds. The sweep names the smallest layout that reaches it. */
  readonly target?: number;
}

/** One layout of a sweep. */
export interface SweepRow {
  /** N, context-parallel ranks. */
  readonly cp: number;
  /** GPUs of a rank. */
  readonly tp: number;
  /** All GPUs: N times `tp`. */
  readonly gpus: number;
  /** The faster variant. */
  readonly variant: Variant;
  /** The faster dealing, or the one asked for. */
  readonly dealing: Dealing;
  /** Seconds of the step. */
  readonly seconds: number;
  /** Does the layout fit in memory? */
  readonly fits: boolean;
  /** Bytes needed on each GPU. */
  readonly memory: number;
  /** Model FLOPs (Appendix A) for each second and GPU. */
  readonly flopsPerGpu: number;
  /** The time of one CP rank over N times this time. */
  readonly parallelEfficiency: number;
  /** It fits, and no layout that fits on as many GPUs or fewer is faster. */
  readonly pareto: boolean;
}

/** A sweep's result. Rows are sorted by GPUs, then by time. */
export interface Sweep {
  /** Every layout. */
  readonly rows: readonly SweepRow[];
  /** The layouts that fit and that no other beats. */
  readonly pareto: readonly SweepRow[];
  /** The layout with the fewest GPUs that reaches the target, if there is a target and a layout reaches it. */
  readonly best?: SweepRow;
  /** One sentence: the layout that reaches the target, or the fastest one. */
  readonly summary: string;
}

/** Whether one rank stands for all of them, so that any CP can be simulated. */
function ranksOfSweepAlike(input: Pick<SweepInput, "model" | "mask" | "dealing">): boolean {
  const masks = input.mask === undefined ? masksOf(input.model) : [input];
  const dealing = input.dealing === "contiguous" ? "contiguous" : "head-tail";
  return masks.every(({ mask = CAUSAL }) => ranksAlike({ mask, dealing }));
}

/**
 * The layouts to try. CP takes powers of two, up to 256 if ranks differ and each is simulated. TP takes every size that
 * splits the heads and is a divisor or a multiple of a host's GPUs.
 */
export function layouts(
  input: Pick<SweepInput, "model" | "cluster" | "maxGpus" | "mask" | "dealing">,
): { readonly cp: number; readonly tp: number }[] {
  const { gpusPerHost } = input.cluster;
  const tps = tpSizes(input.model, Math.min(input.maxGpus, input.model.heads)).filter((
    tp,
  ) => (tp <= gpusPerHost ? gpusPerHost % tp === 0 : tp % gpusPerHost === 0));
  const alike = ranksOfSweepAlike(input);
  return tps.flatMap((tp) => {
    const largest = Math.min(Math.floor(input.maxGpus / tp), alike ? MOST_GPUS : EVERY_RANK_UP_TO);
    return Array.from({ length: Math.floor(Math.log2(largest)) + 1 }, (_, i) => ({ cp: 2 ** i, tp }));
  });
}

/**
 * Plans every layout. Errors: InputError if maxGpus is out of range, or if nothing fits: then with the nearest layout.
 */
export async function sweep(input: SweepInput): Promise<Sweep> {
  if (!Number.isInteger(input.maxGpus) || input.maxGpus < 1 || input.maxGpus > MOST_GPUS) {
    throw new InputError(
      `maxGpus: found ${input.maxGpus}, expected a whole number from 1 to ${MOST_GPUS}: a sweep simulates every layout`,
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
        dealing: p.dealing,
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
      `no layout fits on up to ${input.maxGpus} GPUs of ${input.cluster.accelerator.label}; the nearest, CP${
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
  const summary = summaryOf(pareto, best, input);
  const cut = !ranksOfSweepAlike(input) && input.maxGpus > EVERY_RANK_UP_TO
    ? `; CP beyond ${EVERY_RANK_UP_TO} was not tried: here ranks differ, and each is simulated`
    : "";
  return { rows: marked, pareto, ...(best === undefined ? {} : { best }), summary: summary + cut };
}

function summaryOf(pareto: readonly SweepRow[], best: SweepRow | undefined, input: SweepInput): string {
  const fastest = pareto[pareto.length - 1];
  const say = (r: SweepRow) => `CP${r.cp} x TP${r.tp} (${r.gpus} GPUs) in ${r.variant}: ${r.seconds.toPrecision(4)} s`;
  if (input.target === undefined) return `fastest layout that fits: ${say(fastest)}`;
  return best === undefined
    ? `no layout that fits on up to ${input.maxGpus} GPUs reaches ${input.target} s; the fastest is ${say(fastest)}`
    : `fewest GPUs within ${input.target} s: ${say(best)}`;
}
