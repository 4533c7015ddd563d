/** The cost of each hop, from the spans, for the table beside the timeline. */
import type { Span } from "../../engine/run.ts";

/** One ring step over all ranks. A cluster is as slow as its slowest rank, so each time is the longest of any rank. */
export interface Hop {
  readonly hop: number;
  /** Seconds of attention. */
  readonly attend: number;
  /** Seconds of the transfer to the next rank; 0 in the last hop. */
  readonly transfer: number;
  /** Seconds idle for a message on its link, and for a sender that has not sent it yet. */
  readonly wait: number;
  readonly late: number;
  /** Bytes sent round the ring by all ranks together. */
  readonly bytes: number;
  readonly flops: number;
}

/** The hops of a run. The last hop sends nothing: a late sender then belongs to the All2All. */
export function hopsOf(spans: readonly Span[], ranks: number): Hop[] {
  return Array.from({ length: ranks }, (_, hop) => {
    const own = spans.filter((span) => span.hop === hop && !(hop === ranks - 1 && span.kind === "late"));
    const of = (kind: Span["kind"]) => own.filter((span) => span.kind === kind);
    return {
      hop,
      attend: longest(of("attend"), ranks),
      transfer: longest(of("send"), ranks),
      wait: longest(of("wait"), ranks),
      late: longest(of("late"), ranks),
      bytes: sum(of("send"), "bytes"),
      flops: sum(of("attend"), "flops"),
    };
  });
}

/** The All2All that ends pass-Q: its sends, and how long devices waited for parcels on a link and for late senders. */
export function all2allOf(spans: readonly Span[], ranks: number): Pick<Hop, "transfer" | "wait" | "late" | "bytes"> {
  const of = (lane: Span["lane"]) => spans.filter((span) => span.kind === "all2all" && span.lane === lane);
  const late = spans.filter((span) => span.kind === "late" && span.hop === ranks - 1);
  return {
    transfer: longest(of("send"), ranks),
    wait: longest(of("device"), ranks),
    late: longest(late, ranks),
    bytes: sum(of("send"), "bytes"),
  };
}

/** Seconds in which any of these spans is under way, on the rank with the most. */
function longest(spans: readonly Span[], ranks: number): number {
  const sums = new Array<number>(ranks).fill(0);
  const ends = new Array<number>(ranks).fill(-Infinity);
  // Transfers to several peers overlap: count time once.
  for (const { rank, start, duration } of [...spans].sort((a, b) => a.start - b.start)) {
    const end = start + duration;
    sums[rank] += Math.max(0, end - Math.max(start, ends[rank]));
    ends[rank] = Math.max(ends[rank], end);
  }
  return Math.max(...sums);
}

function sum(spans: readonly Span[], what: "bytes" | "flops"): number {
  return spans.reduce((total, span) => total + span[what], 0);
}
