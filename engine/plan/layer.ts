/** Simulates one layer of a step: its ring, and the work before and after it. */
import type { Variant } from "../ring/contract.ts";
import type { Span } from "../trace/span.ts";
import { allReduceTime } from "./collectives.ts";
import { decodeKernels } from "./decode-kernels.ts";
import { type Product, productFlops, products, productTime } from "./gemm.ts";
import { jitterFactor } from "./jitter.ts";
import type { FfnPrecision } from "./models.ts";
import { simulateRing } from "./simulate.ts";
import { activations } from "./traffic.ts";
import { ranksAlike } from "./calls.ts";
import { EVERY_RANK_UP_TO, type PlacedStep, ringShape, type Sent } from "./work.ts";

/** Departures from a perfect cluster. They repeat exactly. */
export interface Disturbance {
  /** Slow ranks: rank k computes this many times slower. */
  readonly slow?: ReadonlyMap<number, number>;
  /** Noise on every attention and transfer: uniform in `1 - amplitude .. 1 + amplitude`. */
  readonly jitter?: { readonly seed: number; readonly amplitude: number };
}

/** The layer to simulate. */
export interface LayerInput {
  readonly step: PlacedStep;
  readonly variant: Variant;
  readonly ffn: FfnPrecision;
  /** Prefill against a persistent KV cache: adds the parameter `cacheOverhead`. */
  readonly persistent: boolean;
  readonly disturbance?: Disturbance;
  /** Simulate every rank, however many there are. */
  readonly everyRank?: boolean;
  readonly onSpan?: (span: Span) => void;
  readonly signal?: AbortSignal;
}

/** Seconds by kind. Their sum is the time of the step. */
export interface Breakdown {
  /** Matrix products. */
  readonly gemm: number;
  /** Attention with its merges. */
  readonly attention: number;
  /** Exposed communication of the ring: transfers that attention does not hide. */
  readonly exposed: number;
  /** Pass-Q's All2All. */
  readonly all2all: number;
  /** Tensor parallelism's all-reduces. */
  readonly allreduce: number;
  /** Host work of ring steps and of the persistent cache, and launches of decode kernels. */
  readonly launch: number;
}

/** One layer's time, taken from the last rank to finish. */
export interface Layer {
  /** Seconds of the layer. */
  readonly seconds: number;
  /** The same by kind. */
  readonly breakdown: Breakdown;
  /** Whether the simulation ran every rank, or one rank that stands for all. */
  readonly simulated: "every rank" | "one rank for all";
  /** Bytes of the largest ring message. */
  readonly message: number;
  /** Bytes of all parcels of the rank that sends most. */
  readonly parcels: number;
  /** What one GPU of every rank sends and skips. */
  readonly sent: Sent;
  /** Seconds of the transfer of the largest message. */
  readonly transfer: number;
  /** Seconds of one All2All, at rank 0. */
  readonly exchange: number;
  /** Seconds of one attention call, of rank 0 to its own keys. */
  readonly attend: number;
}

/** Simulates one layer. */
export async function simulateLayer(input: LayerInput): Promise<Layer> {
  const { step, disturbance } = input;
  const { model, rates, cp, tp } = step;
  const p = rates.parameters;
  const disturbed = disturbance?.slow !== undefined || disturbance?.jitter !== undefined;
  const everyRank = input.everyRank === true || disturbed || step.held !== undefined || input.onSpan !== undefined ||
    cp <= EVERY_RANK_UP_TO || !ranksAlike(step);
  const shape = ringShape(step, input.variant, everyRank);
  const times = products(model, step.heads, tp, input.ffn).map((product) => ({
    product,
    seconds: productTime(product, shape.rows, rates),
  }));
  const [qkv, ...rest] = times;
  const sum = rest.reduce((total, t) => total + t.seconds, 0);
  const bytes = activations(shape.rows, model.width);
  const allreduce = 2 * allReduceTime(bytes, tp, rates);
  const cache = !step.decode && input.persistent ? p.cacheOverhead : 0;
  const launches = step.decode ? decodeKernels(input.ffn) * p.kernelFloor : 0;
  const slowdown = (rank: number) => disturbance?.slow?.get(rank) ?? 1;
  const start = (rank: number) => cache + launches + qkv.seconds * slowdown(rank);
  const slowest = slowestWire(shape.wire, cp);
  const ranks = await simulateRing({
    ...shape,
    ranks: cp,
    variant: input.variant,
    wire: everyRank ? shape.wire : () => slowest,
    hopOverhead: step.decode ? 0 : p.hopOverhead,
    start,
    slowdown,
    ...(disturbance?.jitter === undefined ? {} : { jitter: noise(disturbance.jitter) }),
    oneForAll: !everyRank,
    ...(input.onSpan === undefined ? {} : { onSpan: input.onSpan }),
    ...(input.signal === undefined ? {} : { signal: input.signal }),
  });
  const ends = ranks.map((r) => r.end + sum * slowdown(r.rank) + allreduce);
  const last = ends.reduce((best, end, k) => (end > ends[best] ? k : best), 0);
  const r = ranks[last];
  if (input.onSpan !== undefined) {
    for (const rank of ranks) {
      around(input.onSpan, rank.rank, rank.end, slowdown(rank.rank), {
        cache: cache + launches,
        times,
        rows: shape.rows,
        allreduce,
        bytes,
        last: cp - 1,
      });
    }
  }
  const breakdown = {
    gemm: (qkv.seconds + sum) * slowdown(r.rank),
    attention: r.attend + r.merge,
    exposed: r.wait,
    all2all: r.all2all,
    allreduce,
    launch: cache + launches + r.launch,
  };
  return {
    seconds: ends[last],
    breakdown,
    simulated: everyRank ? "every rank" : "one rank for all",
    message: shape.largest,
    parcels: shape.parcels,
    sent: shape.sent,
    transfer: shape.largest === 0 ? 0 : slowest.latency + shape.largest / slowest.rate,
    exchange: input.variant === "pass-q" ? shape.exchange(0) : 0,
    attend: shape.attend(0, 0) ?? 0,
  };
}

function noise({ seed, amplitude }: { readonly seed: number; readonly amplitude: number }) {
  return (rank: number, hop: number, what: 0 | 1) => jitterFactor(seed, amplitude, rank, hop, what);
}

function slowestWire(wire: (from: number) => { readonly rate: number; readonly latency: number }, cp: number) {
  let slowest = wire(0);
  for (let k = 1; k < cp; k++) if (wire(k).rate < slowest.rate) slowest = wire(k);
  return slowest;
}

interface Around {
  readonly cache: number;
  readonly times: readonly { readonly product: Product; readonly seconds: number }[];
  readonly rows: number;
  readonly allreduce: number;
  readonly bytes: number;
  readonly last: number;
}

/**
 * The spans around the ring on one rank. Before it: host work and the QKV product. After it: the output product, an
 * all-reduce, the feed-forward products, an all-reduce.
 */
function around(onSpan: (span: Span) => void, rank: number, ringEnd: number, slowdown: number, a: Around): void {
  let at = 0;
  const put = (
    kind: "launch" | "gemm" | "allreduce",
    hop: number,
    duration: number,
    more: { bytes?: number; flops?: number } = {},
  ) => {
    if (duration > 0) onSpan({ rank, lane: "device", kind, hop, start: at, duration, bytes: 0, flops: 0, ...more });
    at += duration;
  };
  const product = (i: number, hop: number) =>
    put("gemm", hop, a.times[i].seconds * slowdown, { flops: productFlops(a.times[i].product, a.rows) });
  put("launch", 0, a.cache);
  product(0, 0);
  at = ringEnd;
  product(1, a.last);
  put("allreduce", a.last, a.allreduce / 2, { bytes: a.bytes });
  product(2, a.last);
  product(3, a.last);
  put("allreduce", a.last, a.allreduce / 2, { bytes: a.bytes });
}
