/** What each hop cost, from the spans: the table beside the timeline. */
import type { Span } from "../engine.ts";
import { waits } from "../kinds.ts";

/** One ring step over all ranks. A cluster is as slow as its slowest rank, so times are the longest of any rank. */
export interface Hop {
  readonly hop: number;
  /** Seconds of attention. */
  readonly attend: number;
  /** Seconds of the transfer to the next rank; 0 in the last hop. */
  readonly transfer: number;
  /** Seconds idle for a message. */
  readonly wait: number;
  /** Bytes sent round the ring by all ranks together. */
  readonly bytes: number;
  readonly flops: number;
}

/** The hops of a run. */
export function hopsOf(spans: readonly Span[], ranks: number): Hop[] {
  return Array.from({ length: ranks }, (_, hop) => {
    const own = spans.filter((span) => span.hop === hop);
    const of = (kind: Span["kind"]) => own.filter((span) => span.kind === kind);
    return {
      hop, attend: longest(of("attend"), ranks), transfer: longest(of("send"), ranks), wait: longest(own.filter(waits), ranks),
      bytes: sum(of("send"), "bytes"), flops: sum(of("attend"), "flops"),
    };
  });
}

/** The All2All that ends pass-Q: its sends, and the wait of the device for the parcels of the others. */
export function all2allOf(spans: readonly Span[], ranks: number): Pick<Hop, "transfer" | "wait" | "bytes"> {
  const of = (lane: Span["lane"]) => spans.filter((span) => span.kind === "all2all" && span.lane === lane);
  return { transfer: longest(of("send"), ranks), wait: longest(of("device"), ranks), bytes: sum(of("send"), "bytes") };
}

/** Seconds in which any of these spans went on, on the rank with most of them. */
function longest(spans: readonly Span[], ranks: number): number {
  const sums = new Array<number>(ranks).fill(0);
  const ends = new Array<number>(ranks).fill(-Infinity);
  // Transfers to several peers overlap: time is counted once.
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
