/**
 * The borders between pass-KV and pass-Q: one function for each equation of the paper.
 *
 * The paper has K and V of one head size. Where a model has others (Dv, or V as a part of K), the same derivations hold
 * with the elements that travel: `kv` of a token's K and V, `q` of its Q, `o` of its O (`elementsOf`), and
 * 2 (D + Dv) FLOPs a pair and head. If Dv = D, each function is the printed equation.
 */
import { type Elements, elementsOf, type Setting } from "./setting.ts";

/** Eq. 1: up to the miss rate `kv / q`, the Q message is no larger than the KV message: `2 N_KV / N_H` if Dv = D. */
export function smallerQueries(s: Elements): number {
  const { q, kv } = elementsOf(s);
  return kv / q;
}

/**
 * Eq. 2: from `N C N_KV e / (2 N_H BW)` new tokens on, attention hides pass-KV's ring. Independent of P. In general,
 * N_KV is `kv / (D + Dv)`.
 */
export function hiddenKv(
  s: Elements & Pick<Setting, "ranks" | "flops" | "bytes" | "bandwidth">,
): number {
  const { headDim = 128, valueDim = headDim, bytes = 2 } = s;
  return (s.ranks * s.flops * (elementsOf(s).kv / (headDim + valueDim)) * bytes) / (2 * s.heads * s.bandwidth);
}

/**
 * Eq. 3: from T+P = `N e C / (4 BW)` tokens on, attention hides pass-Q's ring (but not its All2All). In general, 4 is
 * `2 (D + Dv) / D`.
 */
export function hiddenQ(
  s: Pick<Setting, "headDim" | "valueDim" | "ranks" | "flops" | "bytes" | "bandwidth">,
): number {
  const { headDim = 128, valueDim = headDim, bytes = 2 } = s;
  return (s.ranks * bytes * s.flops) / (((2 * (headDim + valueDim)) / headDim) * s.bandwidth);
}

/**
 * Eq. 5: up to the miss rate `2 N_KV / N_H - 4 T BW / (N C e)`, pass-Q wins even with its All2All. If it is negative,
 * pass-Q never wins. In general, the first term is `kv / o`, because O goes home, and 4 is `2 (D + Dv) / Dv`.
 */
export function smallerQueriesAll2All(
  s: Elements & Pick<Setting, "ranks" | "flops" | "bytes" | "bandwidth" | "new">,
): number {
  const { headDim = 128, valueDim = headDim, bytes = 2 } = s;
  const { kv, o } = elementsOf(s);
  return kv / o - (((2 * (headDim + valueDim)) / valueDim) * s.new * s.bandwidth) / (s.ranks * s.flops * bytes);
}
