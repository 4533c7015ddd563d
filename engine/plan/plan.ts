/** Plans a step of a model on a layout of a cluster: its time, the reasons, and whether it fits in memory. */
import type { Variant } from "../ring/contract.ts";
import type { Dealing, Sequence } from "../layout/shards.ts";
import type { Span } from "../trace/span.ts";
import { modelFlops } from "./flops.ts";
import { productTime } from "./gemm.ts";
import { headsPerGpu } from "./heads.ts";
import { type Breakdown, type Layer, simulateLayer } from "./layer.ts";
import { type Memory, memoryOf } from "./memory.ts";
import type { Model } from "./models.ts";
import { PARAMETERS } from "./parameters.ts";
import { type CheckedInput, checkInput, type PlanInput } from "./plan-input.ts";
import { type GpuRates, ratesOf } from "./rates.ts";
import { type Alternative, dealingReasonOf, type LayerKind, notesOf, reasonOf, type Run } from "./reason.ts";
import type { PlacedStep } from "./work.ts";

/** A plan. Times in seconds, sizes in bytes, rates in FLOP/s. */
export interface Plan {
  /** The model's name. */
  readonly model: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** N, context-parallel ranks. */
  readonly cp: number;
  /** GPUs of a rank. */
  readonly tp: number;
  /** All GPUs: N times `tp`. */
  readonly gpus: number;
  /** All hosts. */
  readonly hosts: number;
  /** The kind of step. */
  readonly mode: "prefill" | "decode";
  /** T of each sequence. */
  readonly new: number;
  /** P of each sequence. */
  readonly cached: number;
  /** B, sequences. */
  readonly batch: number;
  /** T / (T + P). */
  readonly missRate: number;
  /** Time to the first token (prefill). */
  readonly ttft?: number;
  /** Time to each further token (decode). */
  readonly ttit?: number;
  /** The time of the step: `ttft` or `ttit`. */
  readonly seconds: number;
  /** The variant that the plan has. */
  readonly variant: Variant;
  /** Why it has that variant. */
  readonly reason: string;
  /** How ranks get tokens, in every layer. */
  readonly dealing: Dealing;
  /** Why it has that dealing. */
  readonly dealingReason: string;
  /** The time of each variant and dealing that was simulated. */
  readonly alternatives: readonly Alternative[];
  /** The time of the step by kind. */
  readonly breakdown: Breakdown;
  /** Its first layer. */
  readonly layer: Layer;
  /** A layer of each mask, the first layer's first. */
  readonly kinds: readonly LayerKind[];
  /** What the fullest GPU holds. */
  readonly memory: Memory;
  /** Model FLOPs (Appendix A) for each second and GPU. */
  readonly flopsPerGpu: number;
  /** Share of the bf16 peak. */
  readonly utilization: number;
  /** The time of one CP rank over N times this time. A perfect split has 1. */
  readonly parallelEfficiency: number;
  /** What the plan leaves out or assumes. */
  readonly notes: readonly string[];
  /** The spans of the first layer, if the input has `spans`. */
  readonly spans?: readonly Span[];
}

/**
 * Plans one step. Errors: InputError if the layout is impossible or a number is out of range. A layout that does not
 * fit in memory is not an error: `memory.fits` is then false.
 */
export async function plan(input: PlanInput): Promise<Plan> {
  input.signal?.throwIfAborted();
  const c = checkInput(input);
  const rates = ratesOf(input.cluster, input.parameters ?? PARAMETERS);
  const sequence: Sequence = { new: c.new, cached: c.cached };
  const heads = headsPerGpu(input.model, c.tp);
  const step: Omit<PlacedStep, "mask" | "dealing"> = {
    model: input.model,
    rates,
    cp: c.cp,
    tp: c.tp,
    heads,
    kvBytes: c.kvBytes,
    sequence,
    batch: c.batch,
    ...(input.held === undefined ? {} : { held: input.held }),
    decode: c.decode,
  };
  const stop = input.signal === undefined ? {} : { signal: input.signal };
  const simulate = async (variant: Variant, dealing: Dealing): Promise<Run & { readonly spans: Span[] }> => {
    const spans: Span[] = [];
    const onSpan = input.spans === true ? { onSpan: (span: Span) => void spans.push(span) } : {};
    const more = {
      ...(input.disturbance === undefined ? {} : { disturbance: input.disturbance }),
      everyRank: input.everyRank === true,
      ...stop,
    };
    const kinds: LayerKind[] = [];
    for (const { mask, layers } of c.masks) {
      const layer = await simulateLayer({
        step: { ...step, mask, dealing },
        variant,
        ffn: c.ffn,
        persistent: c.persistent,
        ...more,
        ...kinds.length === 0 ? onSpan : {},
      });
      kinds.push({ mask, layers, layer });
    }
    return { variant, dealing, kinds, seconds: inLayers(kinds, (layer) => layer.seconds), spans };
  };
  const head = headTime(input.model, c.tp, c.decode ? Math.ceil(c.batch / c.cp) : c.batch, rates);
  const wanted: readonly Variant[] = c.cp === 1
    ? ["pass-kv"]
    : c.variant === "auto"
    ? ["pass-kv", "pass-q"]
    : [c.variant];
  const runs = [];
  for (const dealing of c.dealings) for (const variant of wanted) runs.push(await simulate(variant, dealing));
  const best = runs.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const seconds = best.seconds + head;
  const alternatives = runs.map((r) => ({ variant: r.variant, dealing: r.dealing, seconds: r.seconds + head }));
  const alone = c.cp === 1 ? seconds : await aloneTime(c, { ...step, cp: 1, held: undefined }, stop) + head;
  const gpus = c.cp * c.tp;
  const flopsPerGpu = modelFlops(input.model, sequence, c.batch, c.masks) / seconds / gpus;
  const memory = memoryOf({
    model: input.model,
    tp: c.tp,
    cp: c.cp,
    ffn: c.ffn,
    kvBytes: c.kvBytes,
    sequence,
    batch: c.batch,
    ...(input.held === undefined ? {} : { cachedOnFullest: Math.max(...input.held) }),
    variant: best.variant,
    capacity: input.cluster.accelerator.memory,
  });
  return {
    model: input.model.name,
    cluster: input.cluster.name,
    cp: c.cp,
    tp: c.tp,
    gpus,
    hosts: Math.ceil(gpus / input.cluster.gpusPerHost),
    mode: c.decode ? "decode" : "prefill",
    new: c.new,
    cached: c.cached,
    batch: c.batch,
    missRate: c.new / (c.new + c.cached),
    ...(c.decode ? { ttit: seconds } : { ttft: seconds }),
    seconds,
    variant: best.variant,
    reason: reasonOf(c, alternatives, best, { ...step, mask: c.masks[0].mask, dealing: best.dealing }),
    dealing: best.dealing,
    dealingReason: dealingReasonOf(input, c, runs, best, head),
    alternatives,
    breakdown: breakdownOf(best.kinds, head),
    layer: best.kinds[0].layer,
    kinds: best.kinds,
    memory,
    flopsPerGpu,
    utilization: flopsPerGpu / input.cluster.accelerator.bf16,
    parallelEfficiency: alone / (c.cp * seconds),
    notes: notesOf(input, c),
    ...(input.spans === true ? { spans: best.spans } : {}),
  };
}

/** Seconds of the output head. It runs once a step, on the last token of each sequence. */
function headTime(m: Model, tp: number, rows: number, rates: GpuRates): number {
  return productTime(
    { name: "out", outer: Math.ceil(m.vocabulary / tp), inner: m.width, precision: "bf16" },
    rows,
    rates,
  );
}

/** Seconds of all layers on one CP rank. */
async function aloneTime(
  c: CheckedInput,
  step: Omit<PlacedStep, "mask" | "dealing">,
  stop: { readonly signal?: AbortSignal },
): Promise<number> {
  const { ffn, persistent } = c;
  let seconds = 0;
  for (const { mask, layers } of c.masks) {
    const placed = { ...step, mask, dealing: "head-tail" as const };
    seconds += layers * (await simulateLayer({ step: placed, variant: "pass-kv", ffn, persistent, ...stop })).seconds;
  }
  return seconds;
}

function inLayers(kinds: readonly LayerKind[], of: (layer: Layer) => number): number {
  return kinds.reduce((sum, { layers, layer }) => sum + layers * of(layer), 0);
}

function breakdownOf(kinds: readonly LayerKind[], head: number): Breakdown {
  const sum = (part: keyof Breakdown) => inLayers(kinds, ({ breakdown }) => breakdown[part]);
  return {
    gemm: sum("gemm") + head,
    attention: sum("attention"),
    exposed: sum("exposed"),
    all2all: sum("all2all"),
    allreduce: sum("allreduce"),
    launch: sum("launch"),
  };
}
