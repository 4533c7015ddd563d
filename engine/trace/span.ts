/**
 * The one record of what happened when, shared by real ranks, the planner's simulated cluster and the native worker.
 */

/** Where a span is drawn: the rank's device, its outgoing link, its incoming link, its host. */
export type Lane = "device" | "send" | "receive" | "host";

/**
 * Kinds of time. A rank that is idle waits for one of three things: `wait`, a message that is on its link; `late`, a
 * sender that has not sent yet;
 * `barrier`, ranks that are not ready to begin (most often since they compile). `all2all` is the exchange of partial
 * results in pass-Q.
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
  readonly rank: number;
  readonly lane: Lane;
  readonly kind: Kind;
  /** Ring step, 0 .. N-1. */
  readonly hop: number;
  /** Seconds since the run began. */
  readonly start: number;
  /** Seconds. */
  readonly duration: number;
  /** Bytes moved, 0 where nothing moves. */
  readonly bytes: number;
  /** Floating-point operations done (4 D a visible query-key pair and head), 0 where none are. */
  readonly flops: number;
  /** The rank at the other end of a transfer; for attend, the rank that first owned the visiting chunk. */
  readonly peer?: number;
}
