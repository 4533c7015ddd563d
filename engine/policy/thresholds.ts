/** The borders between pass-KV and pass-Q: one function for each equation of the paper. */
import type { Setting } from "./setting.ts";

/** Eq. 1: up to the miss rate `2 N_KV / N_H`, the Q message is no larger than the KV message. */
export function smallerQueries(s: Pick<Setting, "heads" | "kvHeads">): number {
  return (2 * s.kvHeads) / s.heads;
}

/** Eq. 2: from `N C N_KV e / (2 N_H BW)` new tokens on, attention hides pass-KV's ring. Independent of P. */
export function hiddenKv(
  s: Pick<Required<Setting>, "ranks" | "flops" | "kvHeads" | "bytes" | "heads" | "bandwidth">,
): number {
  return (s.ranks * s.flops * s.kvHeads * s.bytes) / (2 * s.heads * s.bandwidth);
}

/** Eq. 3: from T+P = `N e C / (4 BW)` tokens on, attention hides pass-Q's ring (but not its All2All). */
export function hiddenQ(s: Pick<Required<Setting>, "ranks" | "flops" | "bytes" | "bandwidth">): number {
  return (s.ranks * s.bytes * s.flops) / (4 * s.bandwidth);
}

/**
 * Eq. 5: up to the miss rate `2 N_KV / N_H - 4 T BW / (N C e)`, pass-Q wins even with its All2All. If it is negative,
 * pass-Q never wins.
 */
export function smallerQueriesAll2All(
  s: Pick<Required<Setting>, "ranks" | "flops" | "bytes" | "bandwidth" | "heads" | "kvHeads" | "new">,
): number {
  return smallerQueries(s) - (4 * s.new * s.bandwidth) / (s.ranks * s.flops * s.bytes);
}
