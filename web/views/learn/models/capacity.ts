/** Chapter 7: the planner's decode times and room for KV on 1 to 16 hosts. */
import { findCluster, findModel, plan } from "../../../engine/learn.ts";
import { TP } from "./cluster.ts";

/** The figures of one number of hosts. */
export interface Room {
  readonly ranks: number;
  /** Tokens of KV cache that fit beside the weights. */
  readonly tokens: number;
  /** Seconds of one decode step of one sequence with {@link CONTEXT} tokens. */
  readonly ttit: number;
}

/** Cached tokens of the decode step. */
export const CONTEXT = 128_000;

/** Llama 3 405B on the paper's hosts, TP8 within each. */
export async function rooms(): Promise<Room[]> {
  const base = { model: findModel("llama3-405b"), cluster: findCluster("gtt"), tp: TP, decode: true, cached: CONTEXT };
  return await Promise.all([1, 2, 4, 8, 16].map(async (ranks) => {
    const { memory, seconds } = await plan({
      ...base,
      cp: ranks,
      ...(ranks === 1 ? {} : { variant: "pass-q" as const }),
    });
    return { ranks, tokens: memory.kvCapacityTokens, ttit: seconds };
  }));
}
