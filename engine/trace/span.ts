/** The record of what happened when. Real ranks, the planner's simulated cluster and the native worker share it. */

/** The row of a span in the timeline: the rank's device, its outgoing link, its incoming link, or its host. */
export type Lane = "device" | "send" | "receive" | "host";

/**
 * Kinds of time. An idle rank waits for one of three things. `wait`: a message is on its link. `late`: a sender has not
 * sent yet. `barrier`: other ranks are not ready to begin, usually because they compile. `all2all` is the exchange of
 * partial results in pass-Q.
 */
export type Kind =
  | "compile"
  | "barrier"
  | "upload"
  | "attend"
  | "merge"
  | "download"
  | "send"
  | "receive"
  | "wait"
  | "late"
  | "all2all"
  | "gemm"
  | "allreduce"
  | "launch";

/** One span of time on one rank. */
export interface Span {
  /** The rank that took it. */
  readonly rank: number;
  /** Where it is drawn. */
  readonly lane: Lane;
  /** The kind of time. */
  readonly kind: Kind;
  /** Ring step, 0 .. N-1. */
  readonly hop: number;
  /** Seconds since the run began. */
  readonly start: number;
  /** Seconds. */
  readonly duration: number;
  /** Bytes moved; 0 if nothing moves. */
  readonly bytes: number;
  /** Floating-point operations (4 D for each visible query-key pair and head); 0 if there are none. */
  readonly flops: number;
  /** For a transfer, the rank at its other end. For attend, the rank that first owned the visiting chunk. */
  readonly peer?: number;
}
