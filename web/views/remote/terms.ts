/**
 * The same experiment three times, term by term: measured by the machine, predicted by the planner for a row of its
 * hardware table, and printed in the paper.
 */
import {
  ACCELERATORS,
  type Cell,
  CELLS,
  clusterFromJson,
  CLUSTERS,
  type ClusterSpec,
  findModel,
  type Model,
  type Plan,
  plan,
} from "../../engine/plan.ts";
import type { Span, Variant } from "../../engine/run.ts";
import { formatCount } from "../../lib/format/format.ts";
import type { RemoteExperiment } from "./model.ts";
import type { LayerReport, LayerTerm } from "./layer-report.ts";
import { SMALL_MODEL, TP } from "./params.ts";

/** One figure of the comparison, in seconds or FLOP/s. Unknown values are absent. */
export interface Figure {
  readonly id: string;
  readonly label: string;
  readonly unit: "s" | "FLOP/s";
  readonly measured?: number;
  /** The origin of the measured figure, if it was not timed directly: modelled or derived. */
  readonly origin?: string;
  readonly planned?: number;
  readonly paper?: Printed;
}

/** A figure that the paper prints. */
export interface Printed {
  readonly value: number;
  /** "Table 5". */
  readonly table: string;
  readonly label: string;
}

/** The figures of one variant, and the source of the planned ones. */
export interface Comparison {
  readonly figures: readonly Figure[];
  /** The planner's hardware: "h200 over the experiment's link". */
  readonly on: string;
  readonly notes: readonly string[];
  /** The worker's notes on its figures. */
  readonly said: readonly string[];
}

/** The hardware row of a device's GPU, or nothing if none is near: for a CPU or an older card. */
export function nearest(
  device: { readonly name: string; readonly kind: string; readonly memoryBytes: number } | undefined,
): string | undefined {
  if (device === undefined || device.kind !== "cuda") return undefined;
  const name = device.name.toLowerCase();
  if (/h100/.test(name)) return device.memoryBytes > 88e9 ? "h100-hbm2e" : "h100";
  return ACCELERATORS.find((row) => new RegExp(`\\b${row.name}`).test(name))?.name;
}

/** The cluster to plan on: hosts of eight of that row's GPUs, over the experiment's link or else the row's fabric. */
export function clusterOf(
  accelerator: string,
  { link }: Pick<RemoteExperiment, "link">,
): { readonly cluster: ClusterSpec; readonly say: string } {
  const known = CLUSTERS.find((c) => c.accelerator.name === accelerator)!;
  if (link === null) return { cluster: known, say: `${accelerator} over ${known.fabric.label}` };
  const fabric = {
    name: "the experiment's link",
    line: link.bandwidth,
    achieved: link.bandwidth,
    latency: Math.max(link.latency, 1e-9),
  };
  return {
    cluster: clusterFromJson({ accelerator, fabric }, known.name),
    say: `${accelerator} over the experiment’s link`,
  };
}

/** A model whose share on one GPU of eight has the experiment's heads: Llama 3 405B if it fits, or else a variant. */
export function modelOf(
  { work, model, H, Hkv, D }: Pick<RemoteExperiment, "work" | "model" | "H" | "Hkv" | "D">,
): Model {
  const big = findModel("llama3-405b");
  if (work === "layer") return model === "llama3-405b" ? big : SMALL_MODEL;
  return H === 16 && Hkv === 1 && D === 128
    ? big
    : { ...big, name: `${H}/${Hkv} heads of ${D} a GPU`, heads: TP * H, kvHeads: TP * Hkv, headDim: D };
}

/** The planner's answer for an experiment, or why there is none. */
export async function planOf(
  experiment: RemoteExperiment,
  variant: Variant,
  accelerator: string,
): Promise<{ readonly plan?: Plan; readonly on: string; readonly notes: readonly string[] }> {
  const { cluster, say } = clusterOf(accelerator, experiment);
  if (!experiment.causal) return { on: say, notes: ["the planner plans only causal attention"] };
  const { T, P, N, dtype } = experiment;
  const planned = await plan({
    model: modelOf(experiment),
    cluster,
    cp: N,
    tp: TP,
    new: T,
    cached: P,
    variant,
    kvBytes: dtype === "f32" ? 4 : 2,
  });
  return {
    plan: planned,
    on: say,
    notes: [
      ...planned.notes,
      ...(dtype === "f32" ? ["planned at the rate of bf16 tensor cores, which f32 does not reach"] : []),
    ],
  };
}

/** Seconds of some kinds on one rank's device lane. */
function onDevice(spans: readonly Span[], rank: number, ...kinds: Span["kind"][]): number {
  return spans.reduce(
    (sum, s) => (s.rank === rank && s.lane === "device" && kinds.includes(s.kind) ? sum + s.duration : sum),
    0,
  );
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The terms of a ring, from the spans of a run: each time of the slowest rank, and the attention rate of all ranks. */
export function measuredRing(spans: readonly Span[], ranks: number): Readonly<Record<RingTerm, number | undefined>> {
  const every = Array.from({ length: ranks }, (_, rank) => rank);
  const longest = (...kinds: Span["kind"][]) => Math.max(0, ...every.map((rank) => onDevice(spans, rank, ...kinds)));
  const attends = spans.filter((s) => s.kind === "attend");
  const own = attends.filter((s) => s.rank === 0 && s.hop === 0).reduce((sum, s) => sum + s.duration, 0);
  const sends = spans.filter((s) => s.kind === "send").map((s) => s.duration);
  const ring = spans.filter((s) => s.lane !== "host");
  const seconds = attends.reduce((sum, s) => sum + s.duration, 0);
  return {
    call: attends.length === 0 ? undefined : own,
    attention: attends.length === 0 ? undefined : longest("attend", "merge"),
    transfer: sends.length === 0 ? undefined : median(sends),
    exposed: attends.length === 0 ? undefined : longest("wait"),
    all2all: spans.some((s) => s.kind === "all2all") ? longest("all2all") : undefined,
    whole: ring.length === 0
      ? undefined
      : Math.max(...ring.map((s) => s.start + s.duration)) - Math.min(...ring.map((s) => s.start)),
    rate: seconds > 0 ? attends.reduce((sum, s) => sum + s.flops, 0) / seconds : undefined,
  };
}

type RingTerm = "call" | "attention" | "transfer" | "exposed" | "all2all" | "whole" | "rate";

const ringLabels: Readonly<Record<RingTerm, string>> = {
  call: "One attention call, rank 0 to its own keys",
  attention: "Attention and merge, all hops",
  transfer: "One ring transfer",
  exposed: "Exposed communication, ring",
  all2all: "All2All",
  whole: "The whole ring",
  rate: "Attention rate of a rank",
};

/** The planner's terms of a ring. */
function plannedRing({ layer, cp }: Plan, flops: number): Readonly<Record<RingTerm, number | undefined>> {
  const { attention, exposed, all2all } = layer.breakdown;
  return {
    call: layer.attend,
    attention,
    transfer: cp === 1 ? undefined : layer.transfer,
    exposed: cp === 1 ? undefined : exposed,
    all2all: all2all > 0 ? all2all : undefined,
    whole: attention + exposed + all2all,
    rate: flops > 0 && attention > 0 ? flops / attention : undefined,
  };
}

const endings: readonly (readonly [RingTerm, string])[] = [["call", ".attn"], ["transfer", ".sendrecv"], [
  "all2all",
  ".all2all",
]];

/** The paper's cells for an experiment's attention, by term: Table 5, and the kernel alone. */
export function printedRing(experiment: RemoteExperiment, variant: Variant): Partial<Record<RingTerm, Printed>> {
  const { work, T, P, N, H, Hkv, D, causal } = experiment;
  if (work !== "attend" || H !== 16 || Hkv !== 1 || D !== 128 || !causal) return {};
  const out: Partial<Record<RingTerm, Printed>> = {};
  for (const cell of CELLS) {
    const [ask] = cell.asks;
    if (ask === undefined || ask.tp !== 8 || (ask.cp ?? 1) !== N || ask.new !== T || (ask.cached ?? 0) !== P) continue;
    if (cell.id === "headline.kernel") out.rate = { value: cell.paper * 1e12, table: cell.table, label: cell.label };
    if (cell.table !== "Table 5") continue;
    for (const [term, ending] of endings) {
      if (cell.id.endsWith(ending) && (term === "call" || ask.variant === variant)) out[term] = printed(cell);
    }
  }
  return out;
}

function printed({ paper, unit, table, label }: Cell): Printed {
  return { value: paper / (unit === "ms" ? 1e3 : unit === "µs" ? 1e6 : 1), table, label };
}

/**
 * The paper's TTFT for a layer's step, if it prints one: the first of several, tables before the headline. Table 4's
 * row without cached tokens ran against a persistent cache, which no run here has.
 */
export function printedTtft({ work, model, T, P, N }: RemoteExperiment, variant: Variant): Printed | undefined {
  if (work !== "layer" || model !== "llama3-405b") return undefined;
  const found = CELLS.find(({ group, asks: [ask], asks, excluded }) =>
    group === "ttft" && excluded === undefined && asks.length === 1 && ask.tp === 8 && (ask.cp ?? 1) === N &&
    ask.new === T && (ask.cached ?? 0) === P && (P > 0 || ask.persistent !== true) &&
    (N === 1 || (ask.variant ?? "pass-kv") === variant)
  );
  return found === undefined ? undefined : printed(found);
}

/** Measured beside planned beside printed, for one variant's attention. */
export async function compareAttention(
  experiment: RemoteExperiment,
  variant: Variant,
  spans: readonly Span[],
  accelerator: string,
): Promise<Comparison> {
  const measured = measuredRing(spans, experiment.N);
  const { plan: planned, on, notes } = await planOf(experiment, variant, accelerator);
  // A rank's FLOPs are the same in both, so the planner's rate uses the measured FLOPs.
  const flops = spans.reduce((sum, s) => sum + (s.kind === "attend" ? s.flops : 0), 0) / experiment.N;
  const model: Partial<Record<RingTerm, number>> = planned === undefined ? {} : plannedRing(planned, flops);
  const paper = printedRing(experiment, variant);
  const figures = (Object.keys(ringLabels) as RingTerm[]).map((id): Figure => ({
    id,
    label: ringLabels[id],
    unit: id === "rate" ? "FLOP/s" : "s",
    measured: measured[id],
    planned: model[id],
    paper: paper[id],
  }));
  return {
    figures: figures.filter(({ measured: m, planned: p, paper: q }) =>
      m !== undefined || p !== undefined || q !== undefined
    ),
    on,
    notes,
    said: [],
  };
}

const layerLabels: Readonly<Record<LayerTerm, string>> = {
  attention: "Attention and merge",
  gemm: "Matrix products",
  pointwise: "Norms, RoPE, gate",
  exposed: "Exposed communication",
  allreduce: "All-reduce of the TP group",
};

/** Measured beside planned beside printed, for one variant's layer and the TTFT of its model. */
export async function compareLayer(
  experiment: RemoteExperiment,
  variant: Variant,
  { terms, seconds, ttft, notes: said }: LayerReport,
  accelerator: string,
): Promise<Comparison> {
  const { plan: planned, on, notes } = await planOf(experiment, variant, accelerator);
  const b = planned?.layer.breakdown;
  const model: Partial<Record<LayerTerm, number>> = b === undefined
    ? {}
    : { attention: b.attention, gemm: b.gemm, exposed: b.exposed + b.all2all, allreduce: b.allreduce };
  const figures = (Object.keys(layerLabels) as LayerTerm[]).map((id): Figure => {
    const term = terms.get(id);
    return {
      id,
      label: layerLabels[id],
      unit: "s",
      measured: term?.seconds,
      planned: model[id],
      ...(term === undefined || term.how === "measured" ? {} : { origin: term.how }),
    };
  });
  if ((b?.launch ?? 0) > 0) {
    figures.push({ id: "launch", label: "Host work of ring and cache", unit: "s", planned: b!.launch });
  }
  figures.push({ id: "layer", label: "One layer", unit: "s", measured: seconds, planned: planned?.layer.seconds });
  figures.push({
    id: "ttft",
    label: `TTFT of ${formatCount(modelOf(experiment).layers)} layers`,
    unit: "s",
    measured: ttft,
    planned: planned?.seconds,
    paper: printedTtft(experiment, variant),
    ...(ttft === undefined ? {} : { origin: "derived from one layer" }),
  });
  return {
    figures: figures.filter(({ measured, planned: p, paper }) =>
      measured !== undefined || (p ?? 0) > 0 || paper !== undefined
    ),
    on,
    notes,
    said,
  };
}
