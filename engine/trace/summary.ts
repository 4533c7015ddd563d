/** Sums over spans: the times that a report gives. */
import type { Kind, Span } from "./span.ts";

/** Seconds by kind: of the rank that took longest for it, as a cluster is as slow as its slowest rank. */
export interface Times {
  readonly compile: number;
  /** Waiting, ready, for ranks that are not: most often since they compile. */
  readonly barrier: number;
  readonly upload: number;
  readonly attend: number;
  /** Waiting for messages on their link: the transfers that attention did not hide. */
  readonly exchange: number;
  /** Waiting for a rank that had not sent yet. */
  readonly late: number;
  readonly merge: number;
  readonly total: number;
}

/** Seconds by kind, each of the rank that spent most on it; `total` is the run's own. */
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
