/** Bytes on the wire and exposed seconds of each variant: the numbers that a choice gives as its reason. */
import { elementsOf, type Setting } from "./setting.ts";

/**
 * Bytes and seconds of one rank and layer. With one GPU's heads, C and BW they are one GPU's figures, as in Table 5.
 */
export interface Exposure {
  /** Elements of a token's K and V as they travel, `N_KV (D_H + Dv)`, or `N_KV D_H` if V is a part of K. */
  readonly kvElements: number;
  /** Elements of a token's Q, `N_H D_H`. */
  readonly qElements: number;
  /** Bytes of one KV message, `2 (T+P)/N N_KV D_H e` (Table 3) if Dv = D. */
  readonly kvBytes: number;
  /** Bytes of one Q message, `T/N N_H D_H e` (Table 3). */
  readonly qBytes: number;
  /**
   * Bytes a rank sends in pass-Q's All2All, `(N-1) T/N N_H (Dv e + 4)`: partial O with e bytes an element, LSE in f32.
   */
  readonly all2allBytes: number;
  /**
   * Seconds of attention a hop, `2 T (T+P) N_H (D_H + Dv) / (N^2 C)` (Table 3). Like Eq. 2, it counts all pairs, not only
   * the causal half.
   */
  readonly attend: number;
  /** Seconds of one SendRecv of a KV message. */
  readonly sendKv: number;
  /** Seconds of one SendRecv of a Q message. */
  readonly sendQ: number;
  /** Seconds of pass-Q's All2All. */
  readonly all2all: number;
  /** `(N-1) max(0, SendRecv - ATTN)` (the test of Table 5). */
  readonly exposedKv: number;
  /** `(N-1) max(0, SendRecv - ATTN) + All2All`. */
  readonly exposedQ: number;
}

/** Message sizes and predicted exposed communication of both variants, from rates alone (no latency, no overhead). */
export function exposure(s: Setting): Exposure {
  const { headDim = 128, valueDim = headDim, bytes = 2 } = s;
  const hops = s.ranks - 1;
  const rows = s.new / s.ranks;
  const keys = (s.new + s.cached) / s.ranks;
  const { q: qElements, kv: kvElements } = elementsOf(s);
  const kvBytes = keys * kvElements * bytes;
  const qBytes = rows * qElements * bytes;
  const all2allBytes = hops * rows * s.heads * (valueDim * bytes + 4);
  const attend = (2 * rows * keys * s.heads * (headDim + valueDim)) / s.flops;
  const [sendKv, sendQ, all2all] = [kvBytes, qBytes, all2allBytes].map((size) => size / s.bandwidth);
  return {
    kvElements,
    qElements,
    kvBytes,
    qBytes,
    all2allBytes,
    attend,
    sendKv,
    sendQ,
    all2all,
    exposedKv: hops * Math.max(0, sendKv - attend),
    exposedQ: hops * Math.max(0, sendQ - attend) + all2all,
  };
}
