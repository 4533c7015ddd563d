/** Calibrates each of the eight parameters on its cells, in an order in which none needs a later one. */
import { attentionFlops, causalPairs } from "../flops.ts";
import { findCluster } from "../clusters.ts";
import { headsPerGpu } from "../heads.ts";
import { findModel } from "../models.ts";
import { pairsBetween } from "../../layout/pairs.ts";
import type { PlanParameters } from "../parameters.ts";
import { plan } from "../plan.ts";
import { shard } from "../../layout/shards.ts";
import { kvMessage, qMessage } from "../traffic.ts";
import { type Ask, table4Ask } from "./cells.ts";
import { K, KERNEL_FLOPS, TABLE_4, TABLE_5, TABLE_7, TABLE_8 } from "./tables.ts";

const MODEL = findModel("llama3-405b");
const GTT = findCluster("gtt");
const HEADS = headsPerGpu(MODEL, 8);
const CONTEXT = 128 * K;
const RANKS = 4;

/**
 * Computes the eight parameters from the printed figures. It takes about a second, because it solves end-to-end cells
 * by bisection over plans.
 */
export async function calibrate(): Promise<PlanParameters> {
  const p = {
    tensorShare: 0.6,
    fp8Share: 0.4,
    flowShare: 0.5,
    allReduceShare: 1,
    messageLatency: messageLatency(),
    hopOverhead: 0,
    cacheOverhead: 0,
    kernelFloor: kernelFloor(),
  };
  p.flowShare = flowRate(p.messageLatency) / GTT.fabric.line;
  p.tensorShare = tensorRate(p.kernelFloor) / GTT.accelerator.bf16;
  const ttft = (name: string) => TABLE_7.find((row) => row.name === name)!.ttft / 1e3;
  const full: Ask = { tp: 8, new: CONTEXT, variant: "pass-kv" };
  p.fp8Share = await solve(p, "fp8Share", 0.1, 1, full, ttft("cp1"));
  p.hopOverhead = await solve(p, "hopOverhead", 0, 0.01, { ...full, cp: 8 }, 5.85);
  p.allReduceShare = await solve(p, "allReduceShare", 0.1, 2, { ...full, tp: 16 }, ttft("tp16"));
  const row = TABLE_4.find((r) => r.new === 3200)!;
  p.cacheOverhead = await solve(p, "cacheOverhead", 0, 0.01, table4Ask(row, "pass-q"), row.passQ / 1e3);
  return p;
}

/** From Table 8's SendRecv of CP4 at 128K: three messages of 4 kB. */
function messageLatency(): number {
  return (TABLE_8.find((r) => r.context === CONTEXT && r.cp === 4)!.sendRecv * 1e-6) / 3;
}

/** From Table 8's attention op at 32K on CP2 and CP4, less the time to read the KV of its sequences from HBM. */
function kernelFloor(): number {
  const rest = TABLE_8.filter((r) => r.batch === 4 && r.cp > 1).map((r) => {
    const rows = (Math.ceil((r.context + 1) / r.cp) * r.batch) / r.cp;
    return r.op * 1e-6 - kvMessage(rows, HEADS.kv, MODEL.headDim, 2) / GTT.accelerator.memoryRate;
  });
  return rest.reduce((sum, seconds) => sum + seconds, 0) / rest.length;
}

/** From Table 5's four SendRecv cells: the geometric mean of bytes/s without the latency. */
function flowRate(latency: number): number {
  const rates = TABLE_5.map((r) => {
    const bytes = r.variant === "pass-kv"
      ? kvMessage(CONTEXT / RANKS, HEADS.kv, MODEL.headDim, 2)
      : qMessage(r.new / RANKS, HEADS.queries, MODEL.headDim, 2);
    return bytes / (r.sendRecv * 1e-6 - latency);
  });
  return geometricMean(rates);
}

/**
 * From the kernel figure (8K causal on one GPU's heads) and Table 5's attention at a miss rate of 10 %, each without
 * its launch: the geometric mean of FLOP/s.
 */
function tensorRate(floor: number): number {
  const row = TABLE_5.find((r) => r.miss === "10")!;
  const alone = attentionFlops(causalPairs({ new: 8 * K, cached: 0 }), HEADS.queries, MODEL.headDim);
  const { queries, keys } = shard([{ new: row.new, cached: CONTEXT - row.new }], RANKS);
  const flops = attentionFlops(pairsBetween(queries[0], keys[0]), HEADS.queries, MODEL.headDim);
  return geometricMean([alone / (alone / KERNEL_FLOPS - floor), flops / (row.attend * 1e-6 - floor)]);
}

/** The value of one parameter at which a plan takes `target` seconds. The time must be monotone in it. */
async function solve(
  p: PlanParameters,
  name: keyof PlanParameters,
  low: number,
  high: number,
  ask: Ask,
  target: number,
): Promise<number> {
  const time = async (value: number) =>
    (await plan({ ...ask, model: MODEL, cluster: GTT, parameters: { ...p, [name]: value } })).seconds;
  const rising = (await time(high)) > (await time(low));
  let [a, b] = [low, high];
  for (let i = 0; i < 50; i++) {
    const middle = (a + b) / 2;
    if ((await time(middle)) > target === rising) b = middle;
    else a = middle;
  }
  return (a + b) / 2;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
