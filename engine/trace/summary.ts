/** Sums spans into the times of a report. */
import type { Kind, Span } from "./span.ts";

/** Seconds by kind. Each is the time of the rank that took longest, because a cluster waits for its slowest rank. */
export interface Times {
  /** Compiling kernels. */
  readonly compile: number;
  /** Waiting for other ranks to be ready, usually because they compile. */
  readonly barrier: number;
  /** Copies to the device. */
  readonly upload: number;
  /** Attention. */
  readonly attend: number;
  /** Waiting for messages on their link: exposed communication. */
  readonly exchange: number;
  /** Waiting for a rank that had not sent yet. */
  readonly late: number;
  /** Merging partial results. */
  readonly merge: number;
  /** The whole run. */
  readonly total: number;
}

/** Seconds by kind, each of the rank that spent most on it. `total` is the time of the whole run. */
export function timesOf(spans: readonly Span[], total: number): Times {
  const longest = (...kinds: Kind[]) => {
    const ranks = new Map<number, number>();
    for (const s of spans) {
      if (kinds.includes(s.kind) && s.lane !== "send" && s.lane !== "receive") {
        ranks.set(s.rank, (ranks.get(s.rank) ?? 0) + s.duration);
      }
    }
    return Math.max(0, ...ranks.values());
  };
  return {
    compile: longest("compile"),
    barrier: longest("barrier"),
    upload: longest("upload"),
    attend: longest("attend"),
    exchange: longest("wait", "all2all"),
    late: longest("late"),
    merge: longest("merge"),
    total,
  };
}
