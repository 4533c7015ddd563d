/** The clock that all ranks of one machine share, and the recorder of one rank's spans. */
import type { Kind, Lane, Span } from "./span.ts";

/** Seconds on a clock that every worker of this machine shares. */
export function now(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}

/** A span's facts beyond its time. */
export interface SpanFacts {
  readonly bytes?: number;
  readonly flops?: number;
  readonly peer?: number;
}

/** Collects the spans of one rank in one run, in seconds since `origin`. */
export class Recorder {
  readonly spans: Span[] = [];
  /** Called when the rank begins something, so that a watcher knows what it is doing. */
  onBegin: (kind: Kind, hop: number) => void = () => {};
  readonly rank: number;
  readonly #origin: number;

  constructor(rank: number, origin: number) {
    this.rank = rank;
    this.#origin = origin;
  }

  begin(kind: Kind, hop: number): number {
    this.onBegin(kind, hop);
    return now();
  }

  /** Adds a span from `start` (on this clock) to now, or of `duration` seconds. */
  add(lane: Lane, kind: Kind, hop: number, start: number, facts: SpanFacts = {}, duration = now() - start): void {
    const { bytes = 0, flops = 0, peer } = facts;
    const span = { rank: this.rank, lane, kind, hop, start: start - this.#origin, duration, bytes, flops };
    this.spans.push(peer === undefined ? span : { ...span, peer });
  }
}
