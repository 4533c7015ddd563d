/** The cluster of chapters 5 to 7, Llama 3 405B on the paper's hosts, and its ring in virtual time. */
import {
  type Choice,
  choose,
  exposure,
  findCluster,
  findModel,
  type RankTime,
  type Setting,
  simulateRing,
} from "../../../engine/learn.ts";
import type { Span, Variant } from "../../../engine/run.ts";

const model = findModel("llama3-405b");
/** GPUs of a host. A host is one context-parallel rank of eight rings, one ring per GPU. */
export const TP = 8;

/** The paper's two fabrics. */
export type FabricName = "gtt" | "gti";

/** One GPU in one layer's attention, as Eq. 1 to 5 first take it: its heads, its peak rate, its port's line rate. */
export function settingOf(fabric: FabricName, ranks: number, fresh: number, cached: number): Setting {
  const cluster = findCluster(fabric);
  return {
    new: fresh,
    cached,
    ranks,
    heads: model.heads / TP,
    kvHeads: model.kvHeads / TP,
    headDim: model.headDim,
    bytes: 2,
    flops: cluster.accelerator.bf16,
    bandwidth: cluster.fabric.line,
  };
}

/** A variant's ring in virtual time. */
export interface Simulated {
  readonly spans: readonly Span[];
  readonly ranks: readonly RankTime[];
  /** Seconds until the last rank is done. */
  readonly end: number;
}

/** Runs the engine's ring program in virtual time, with rates alone: no latency, no host work. */
export async function simulated(setting: Setting, variant: Variant): Promise<Simulated> {
  const e = exposure(setting);
  const spans: Span[] = [];
  const flops = e.attend * setting.flops;
  const ranks = await simulateRing({
    ranks: setting.ranks,
    variant,
    attend: () => e.attend,
    flops: () => flops,
    message: () => (variant === "pass-kv" ? e.kvBytes : e.qBytes),
    parcel: () => e.all2allBytes / Math.max(1, setting.ranks - 1),
    wire: () => ({ rate: setting.bandwidth, latency: 0 }),
    exchange: () => e.all2all,
    merge: () => 0,
    hopOverhead: 0,
    overlap: true,
    start: () => 0,
    onSpan: (span) => void spans.push(span),
  });
  return { spans, ranks, end: Math.max(...ranks.map(({ end }) => end)) };
}

/** Both variants, with the choices of the rules. */
export interface Versus {
  readonly setting: Setting;
  readonly kv: Simulated;
  readonly q: Simulated;
  /** Algorithm 1 and Algorithm 5 with these rates, and the rule refitted to the paper's Table 4. */
  readonly choices: readonly Choice[];
}

/** Simulates a step with pass-KV and with pass-Q. */
export async function versus(fabric: FabricName, ranks: number, fresh: number, cached: number): Promise<Versus> {
  const setting = settingOf(fabric, ranks, fresh, cached);
  const [kv, q] = [await simulated(setting, "pass-kv"), await simulated(setting, "pass-q")];
  return {
    setting,
    kv,
    q,
    choices: (["alg1", "alg5", "refitted"] as const).map((rule) => choose({ ...setting, rule })),
  };
}
