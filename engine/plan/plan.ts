/** A plan: what a step of a model on a layout of a cluster takes, why, and whether it fits. */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import type { Sequence } from "../layout/shards.ts";
import { choose } from "../policy/choose.ts";
import { flopsText, percentText, secondsText } from "../policy/units.ts";
import type { Span } from "../trace/span.ts";
import type { Cluster } from "./clusters.ts";
import { modelFlops } from "./flops.ts";
import { bytesOf, productTime } from "./gemm.ts";
import { headsPerGpu } from "./heads.ts";
import { type Breakdown, type Disturbance, type Layer, layer } from "./layer.ts";
import { type Memory, memoryOf } from "./memory.ts";
import type { FfnPrecision, Model } from "./models.ts";
import { PARAMETERS, type Parameters } from "./parameters.ts";
import { type Rates, ratesOf } from "./rates.ts";
import type { Step } from "./work.ts";

/** What is planned. */
export interface PlanInput {
  readonly model: Model;
  readonly cluster: Cluster;
  /** N, context-parallel ranks; default 1. */
  readonly cp?: number;
  /** GPUs of a rank; default one host. Beyond one host this is the paper's multi-node TP baseline. */
  readonly tp?: number;
  /** T of each sequence; in decode 1 whatever is given. */
  readonly new?: number;
  /** P of each sequence; default 0. In decode the context that is read. */
  readonly cached?: number;
  /**
   * Cached tokens of a sequence on each rank (N numbers that sum to `cached`), when decode and earlier turns left them
   * uneven; default head-tail.
   */
  readonly held?: readonly number[];
  /** B sequences alike; default 1. */
  readonly batch?: number;
  /** Default "auto": the faster of both by simulation. */
  readonly variant?: Variant | "auto";
  /** One token a sequence: TTIT instead of TTFT. */
  readonly decode?: boolean;
  /** Whether the prefill runs against a persistent KV cache; default: when cached > 0. */
  readonly persistent?: boolean;
  /** Default: the model's own. */
  readonly ffn?: FfnPrecision;
  /** Bytes of a KV element; default 2 (bf16). */
  readonly kvBytes?: number;
  readonly parameters?: Parameters;
  readonly disturbance?: Disturbance;
  /** Simulate every rank even of a large even cluster. */
  readonly everyRank?: boolean;
  /** Keep the spans of one layer. */
  readonly spans?: boolean;
  /** Ends the simulation with its reason. */
  readonly signal?: AbortSignal;
}

/** A variant's predicted time. */
export interface Alternative {
  readonly variant: Variant;
  /** Seconds of the step. */
  readonly seconds: number;
}

/** A plan. Times in seconds, sizes in bytes, rates in FLOP/s. */
export interface Plan {
  readonly model: string;
  readonly cluster: string;
  readonly cp: number;
  readonly tp: number;
  readonly gpus: number;
  readonly hosts: number;
  readonly mode: "prefill" | "decode";
  readonly new: number;
  readonly cached: number;
  readonly batch: number;
  readonly missRate: number;
  /** Time to the first token (prefill). */
  readonly ttft?: number;
  /** Time to each further token (decode). */
  readonly ttit?: number;
  readonly seconds: number;
  readonly variant: Variant;
  readonly reason: string;
  readonly alternatives: readonly Alternative[];
  readonly breakdown: Breakdown;
  /** One layer of it. */
  readonly layer: Layer;
  readonly memory: Memory;
  /** Model FLOPs (Appendix A) a second and GPU. */
  readonly flopsPerGpu: number;
  /** Share of the bf16 peak. */
  readonly utilization: number;
  /** One CP rank's time over N times this: 1 is a perfect split. */
  readonly parallelEfficiency: number;
  readonly notes: readonly string[];
  /** Spans of one layer, when asked for. */
  readonly spans?: readonly Span[];
}

/** Variants nearer than this are called a near-tie. */
export const NEAR_TIE = 0.015;

/**
 * Plans one step. Errors: InputError when the layout cannot be or a number is out of range. Not fitting in memory is no
 * error: `memory.fits` says so.
 */
export async function plan(input: PlanInput): Promise<Plan> {
  input.signal?.throwIfAborted();
  const c = checked(input);
  const rates = ratesOf(input.cluster, input.parameters ?? PARAMETERS);
  const sequence: Sequence = { new: c.new, cached: c.cached };
  const heads = headsPerGpu(input.model, c.tp);
  const step: Step = {
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
  const simulate = async (variant: Variant): Promise<{ variant: Variant; result: Layer; spans: Span[] }> => {
    const spans: Span[] = [];
    const onSpan = input.spans === true ? { onSpan: (span: Span) => void spans.push(span) } : {};
    const more = {
      ...(input.disturbance === undefined ? {} : { disturbance: input.disturbance }),
      everyRank: input.everyRank === true,
      ...stop,
    };
    return {
      variant,
      result: await layer({ step, variant, ffn: c.ffn, persistent: c.persistent, ...more, ...onSpan }),
      spans,
    };
  };
  const head = headTime(input.model, c.tp, c.decode ? Math.ceil(c.batch / c.cp) : c.batch, rates);
  const total = (l: Layer) => input.model.layers * l.seconds + head;
  const wanted: readonly Variant[] = c.cp === 1
    ? ["pass-kv"]
    : c.variant === "auto"
    ? ["pass-kv", "pass-q"]
    : [c.variant];
  const runs = [];
  for (const variant of wanted) runs.push(await simulate(variant));
  const best = runs.reduce((a, b) => (b.result.seconds < a.result.seconds ? b : a));
  const seconds = total(best.result);
  const alternatives = runs.map((r) => ({ variant: r.variant, seconds: total(r.result) }));
  const alone = c.cp === 1 ? seconds : total(
    await layer({
      step: { ...step, cp: 1, held: undefined },
      variant: "pass-kv",
      ffn: c.ffn,
      persistent: c.persistent,
      ...stop,
    }),
  );
  const gpus = c.cp * c.tp;
  const flopsPerGpu = modelFlops(input.model, sequence, c.batch) / seconds / gpus;
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
    reason: reasonOf(c, alternatives, best.variant, best.result, step),
    alternatives,
    breakdown: scaled(best.result.breakdown, input.model.layers, head),
    layer: best.result,
    memory,
    flopsPerGpu,
    utilization: flopsPerGpu / input.cluster.accelerator.bf16,
    parallelEfficiency: alone / (c.cp * seconds),
    notes: notesOf(input, c),
    ...(input.spans === true ? { spans: best.spans } : {}),
  };
}

interface Checked {
  readonly cp: number;
  readonly tp: number;
  readonly new: number;
  readonly cached: number;
  readonly batch: number;
  readonly kvBytes: number;
  readonly decode: boolean;
  readonly persistent: boolean;
  readonly ffn: FfnPrecision;
  readonly variant: Variant | "auto";
}

function checked(input: PlanInput): Checked {
  const decode = input.decode === true;
  const cached = whole("cached", input.cached ?? 0, 0, MOST_TOKENS);
  const fresh = decode ? 1 : whole("new", input.new ?? Number.NaN, 1, MOST_TOKENS);
  const kvBytes = input.kvBytes ?? 2;
  if (!(kvBytes > 0 && kvBytes <= 8)) {
    throw new InputError(`kvBytes: found ${kvBytes}, expected a number of bytes an element above 0, at most 8 (f64)`);
  }
  const each = input.everyRank === true || input.disturbance !== undefined || input.held !== undefined ||
    input.spans === true;
  const cp = whole("cp", input.cp ?? 1, 1, each ? MOST_RANKS_EACH : MOST_RANKS);
  const sum = input.held?.reduce((total, n) => total + whole("held", n, 0, MOST_TOKENS), 0);
  if (input.held !== undefined && (input.held.length !== cp || sum !== cached)) {
    throw new InputError(
      `held: found ${input.held.length} ranks with ${sum} tokens together, expected ${cp} ranks with the ${cached} cached tokens`,
    );
  }
  const { window } = input.model;
  if (window !== undefined && fresh + cached > window.tokens) {
    throw new InputError(
      `model ${input.model.name}: ${window.field} means that layers see a part of ${
        fresh + cached
      } tokens; the planner knows full attention only, expected at most ${window.tokens} new and cached tokens`,
    );
  }
  const { gpusPerHost } = input.cluster;
  const tp = whole("tp", input.tp ?? Math.min(gpusPerHost, input.model.heads), 1, {
    most: input.model.heads,
    why: `a GPU has at least one of the ${input.model.heads} query heads of ${input.model.name}`,
  });
  if (tp > gpusPerHost && tp % gpusPerHost !== 0) {
    throw new InputError(`tp ${tp} does not fill hosts of ${gpusPerHost} GPUs; a multiple of ${gpusPerHost} does`);
  }
  return {
    cp,
    tp,
    new: fresh,
    cached,
    batch: whole("batch", input.batch ?? 1, 1, MOST_SEQUENCES),
    kvBytes,
    decode,
    persistent: input.persistent ?? cached > 0,
    ffn: input.ffn ?? input.model.ffnPrecision,
    variant: input.variant ?? "auto",
  };
}

/** A bound with its reason. */
interface Bound {
  readonly most: number;
  readonly why: string;
}

const MOST_RANKS: Bound = { most: 65_536, why: "each of its hops is simulated" };
const MOST_RANKS_EACH: Bound = {
  most: 1_024,
  why:
    "every rank is simulated, N x N hops; without --every-rank, --slow, --jitter and a trace one rank may stand for all",
};
const MOST_TOKENS: Bound = { most: 1e12, why: "query-key pairs of more tokens have no digits left in their costs" };
const MOST_SEQUENCES: Bound = { most: 1e6, why: "no cluster decodes more sequences in a step" };

function whole(name: string, value: number, least: number, { most, why }: Bound): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InputError(`${name}: found ${value}, expected a whole number of at least ${least}`);
  }
  if (value > most) throw new InputError(`${name}: found ${value}, expected at most ${most}: ${why}`);
  return value;
}

/** The output head, once a step: the last token of each sequence. */
function headTime(m: Model, tp: number, rows: number, rates: Rates): number {
  return productTime(
    { name: "out", outer: Math.ceil(m.vocabulary / tp), inner: m.width, precision: "bf16" },
    rows,
    rates,
  );
}

function scaled(b: Breakdown, layers: number, head: number): Breakdown {
  return {
    gemm: b.gemm * layers + head,
    attention: b.attention * layers,
    exposed: b.exposed * layers,
    all2all: b.all2all * layers,
    allreduce: b.allreduce * layers,
    launch: b.launch * layers,
  };
}

function reasonOf(
  c: Checked,
  alternatives: readonly Alternative[],
  variant: Variant,
  result: Layer,
  step: Step,
): string {
  if (c.cp === 1) return "one rank: nothing travels";
  const rule = choose({
    new: c.new * c.batch,
    cached: c.cached * c.batch,
    ranks: c.cp,
    heads: step.heads.queries,
    kvHeads: step.heads.kv,
    headDim: step.model.headDim,
    bytes: c.kvBytes,
    flops: step.rates.tensor,
    bandwidth: step.rates.flow.rate,
  });
  const rates = `Algorithm 5 with C = ${flopsText(rule.terms.attend === 0 ? 0 : step.rates.tensor)} and BW = ${
    (step.rates.flow.rate / 1e9).toFixed(1)
  } GB/s`;
  const hop = `a hop's attention takes ${secondsText(result.attend)}, its transfer ${secondsText(result.transfer)}`;
  if (alternatives.length === 1) return `${variant} was asked for; ${hop}; ${rates} says ${rule.variant}: ${rule.why}`;
  const [kv, q] = alternatives.map((a) => a.seconds);
  const apart = Math.abs(q - kv) / Math.min(kv, q);
  const near = apart < NEAR_TIE ? ", a near-tie" : "";
  const verdict = rule.variant === variant ? "agrees" : `says ${rule.variant}`;
  return `simulated: pass-KV ${secondsText(kv)}, pass-Q ${secondsText(q)} (${
    percentText(apart)
  } apart${near}); ${hop}; ${rates} ${verdict}: ${rule.why}`;
}

function notesOf(input: PlanInput, c: Checked): string[] {
  const notes = [...input.model.notes];
  if (!["gtt", "gti"].includes(input.cluster.name)) {
    notes.push(
      "the parameters are calibrated on the paper's H100s and fabric; on other hardware they are carried over as shares and overheads",
    );
  }
  if (c.persistent && c.cp !== 4 && !c.decode) notes.push("the overhead of a persistent cache is known from CP4 alone");
  if (bytesOf(c.ffn) !== bytesOf(input.model.ffnPrecision)) notes.push(`feed-forward weights planned in ${c.ffn}`);
  return notes;
}
