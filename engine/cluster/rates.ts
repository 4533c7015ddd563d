/** Rates measured on a running cluster, and the choice of variant by them. */
import { isLocal, type Mask, maskFrom } from "../layout/mask.ts";
import type { Dealing, Sequence } from "../layout/shards.ts";
import { type Choice, choose, smallerQueries } from "../policy/index.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import { type ValueHead, valueHead } from "../tensor/heads.ts";
import type { Span } from "../trace/span.ts";
import type { Link } from "./types.ts";

/** C and BW of one rank: FLOP/s of attention, bytes/s of its outgoing link. */
export interface MeasuredRates {
  readonly flops: number;
  readonly bandwidth: number;
}

/** Averages the rates of a cluster's runs; the newest weighs most. */
export class RateMeter {
  #flops: number | undefined;
  #bandwidth: number | undefined;

  /** The rates, once both were measured. A modelled link's bandwidth is known. */
  measured(link: Link | undefined): MeasuredRates | undefined {
    const bandwidth = link?.bandwidth ?? this.#bandwidth;
    return this.#flops === undefined || bandwidth === undefined || !Number.isFinite(bandwidth)
      ? undefined
      : { flops: this.#flops, bandwidth };
  }

  /** Adds a run's spans. A single rank has no link to measure. */
  add(spans: readonly Span[], ranks: number): void {
    const attends = spans.filter((s) => s.kind === "attend" && s.flops > 0);
    const sends = ranks > 1 ? spans.filter((s) => s.lane === "send" && s.bytes > 0) : [];
    this.#flops = blend(this.#flops, rate(attends, "flops"));
    this.#bandwidth = blend(this.#bandwidth, rate(sends, "bytes"));
  }
}

/** The facts of a step on which the choice depends. */
export interface StepShape extends ValueHead {
  readonly sequences: readonly Sequence[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly wireDtype: DType;
  readonly mask?: Mask;
  readonly causal?: boolean;
  readonly dealing?: Dealing;
  /** Used in place of measured rates. */
  readonly rates?: MeasuredRates;
}

/** With a link infinitely slow beside its compute, Algorithm 5 is Eq. 1. */
const SLOW_LINK: MeasuredRates = { flops: 1e30, bandwidth: 1 };

/**
 * Algorithm 5 with given or measured rates. Before any measurement, Eq. 1 alone: the smaller message travels. Under a
 * window or chunk mask the variant that sends fewer bytes, rates or not.
 */
export function chooseVariant(
  cluster: { readonly size: number; readonly rates: RateMeter; readonly options: { readonly link?: Link } },
  step: StepShape,
): Choice {
  const { sequences, heads, kvHeads, headDim, wireDtype } = step;
  const [fresh, cached] = [
    sequences.reduce((sum, s) => sum + s.new, 0),
    sequences.reduce((sum, s) => sum + s.cached, 0),
  ];
  const rates = step.rates ?? cluster.rates.measured(cluster.options.link);
  const mask = maskFrom(step);
  const setting = {
    new: fresh,
    cached,
    ranks: cluster.size,
    heads,
    kvHeads,
    headDim,
    ...valueHead(step),
    bytes: bytesPer(wireDtype),
    mask,
    sequences,
    ...(step.dealing === undefined ? {} : { dealing: step.dealing }),
  };
  if (isLocal(mask)) return choose({ ...setting, ...rates ?? SLOW_LINK });
  if (rates !== undefined) {
    const choice = choose({ ...setting, ...rates });
    const source = step.rates === undefined ? "measured on this cluster" : "given";
    return {
      ...choice,
      reason: `${choice.reason} (Algorithm 5, rates ${source}: C ${rates.flops.toPrecision(3)} FLOP/s, BW ${
        rates.bandwidth.toPrecision(3)
      } bytes/s)`,
    };
  }
  const choice = choose({ ...setting, ...SLOW_LINK });
  const [miss, border] = [fresh / (fresh + cached), smallerQueries(setting)];
  const { kvElements, qElements } = choice.terms;
  const ratio = setting.valuesInKeys || setting.valueDim !== headDim ? `${kvElements} / ${qElements}` : "2 Hkv/H";
  return {
    ...choice,
    reason: `no rate was measured yet, so the smaller message travels (Eq. 1): miss rate ${miss.toPrecision(3)} ${
      miss >= border ? "reaches" : "is under"
    } ${ratio} = ${border.toPrecision(3)}`,
  };
}

function rate(spans: readonly Span[], what: "flops" | "bytes"): number | undefined {
  const duration = spans.reduce((sum, s) => sum + s.duration, 0);
  const amount = spans.reduce((sum, s) => sum + s[what], 0);
  return amount > 0 && duration > 0 ? amount / duration : undefined;
}

function blend(before: number | undefined, seen: number | undefined): number | undefined {
  return before === undefined || seen === undefined ? (seen ?? before) : before + (seen - before) / 2;
}
