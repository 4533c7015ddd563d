/**
 * The borders between pass-KV and pass-Q, one function an equation of the paper (sections 2.3 and 2.4 of its facts).
 */
import type { Setting } from "./setting.ts";

/** Eq. 1: the miss rate up to which the Q message is no larger than the KV message, `2 N_KV / N_H`. */
export function smallerQueries(s: Pick<Setting, "heads" | "kvHeads">): number {
  return (2 * s.kvHeads) / s.heads;
}

/**
 * Eq. 2: the T from which pass-KV's ring is hidden behind attention, `N C N_KV e / (2 N_H BW)` tokens; independent of
 * P.
 */
export function hiddenKv(
  s: Pick<Required<Setting>, "ranks" | "flops" | "kvHeads" | "bytes" | "heads" | "bandwidth">,
): number {
  return (s.ranks * s.flops * s.kvHeads * s.bytes) / (2 * s.heads * s.bandwidth);
}

/** Eq. 3: the T+P from which pass-Q's ring (without its All2All) is hidden, `N e C / (4 BW)` tokens. */
export function hiddenQ(s: Pick<Required<Setting>, "ranks" | "flops" | "bytes" | "bandwidth">): number {
  return (s.ranks * s.bytes * s.flops) / (4 * s.bandwidth);
}

/**
 * Eq. 5: the miss rate up to which pass-Q wins when its All2All is counted, `2 N_KV / N_H - 4 T BW / (N C e)`;
 * negative: never.
 */
export function smallerQueriesAll2All(
  s: Pick<Required<Setting>, "ranks" | "flops" | "bytes" | "bandwidth" | "heads" | "kvHeads" | "new">,
): number {
  return smallerQueries(s) - (4 * s.new * s.bandwidth) / (s.ranks * s.flops * s.bytes);
}
