/** The place of each span: swim lanes per rank, and tracks within a lane if spans overlap. */
import type { Lane, Span } from "../../engine/run.ts";

/** A lane's place. */
export interface LanePlace {
  readonly lane: Lane;
  readonly y: number;
  readonly height: number;
}

/** A rank's place. */
export interface RankPlace {
  readonly rank: number;
  readonly y: number;
  readonly height: number;
  readonly lanes: readonly LanePlace[];
}

/** A span with its vertical place. The scale gives the horizontal one. */
export interface Placed {
  readonly span: Span;
  readonly y: number;
  readonly height: number;
}

/** The whole layout. */
export interface Layout {
  readonly ranks: readonly RankPlace[];
  /** In order of rank, lane, start: the order of the arrow keys and of the table. */
  readonly spans: readonly Placed[];
  readonly height: number;
}

const heights: Readonly<Record<Lane, number>> = { device: 20, send: 10, receive: 10, host: 10 };
const order: readonly Lane[] = ["device", "send", "receive", "host"];
const gap = 2;
const between = 12;

/** Lays out the spans of `ranks` ranks from y = `top`. There is a host lane only if a host did something. */
export function layOut(spans: readonly Span[], ranks: number, top: number): Layout {
  const shown = order.filter((lane) => lane !== "host" || spans.some((span) => span.lane === "host"));
  const places: RankPlace[] = [];
  const placed: Placed[] = [];
  let y = top;
  for (let rank = 0; rank < ranks; rank++) {
    const start = y;
    const lanes = shown.map((lane): LanePlace => {
      const place = { lane, y, height: heights[lane] };
      y += heights[lane] + gap;
      return place;
    });
    y -= gap;
    places.push({ rank, y: start, height: y - start, lanes });
    for (const place of lanes) {
      placed.push(...pack(spans.filter((span) => span.rank === rank && span.lane === place.lane), place));
    }
    y += between;
  }
  return { ranks: places, spans: placed, height: y - between };
}

/** Spans of a lane. Overlapping spans share its height: as many tracks as overlap at once. */
function pack(spans: readonly Span[], { y, height }: LanePlace): Placed[] {
  const out: Placed[] = [];
  let cluster: { readonly span: Span; readonly track: number }[] = [];
  let ends: number[] = [];
  const flush = () => {
    const each = height / ends.length;
    out.push(...cluster.map(({ span, track }) => ({ span, y: y + track * each, height: each })));
    cluster = [];
    ends = [];
  };
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    // Clocks of a page step by 0.1 ms: spans that touch do not overlap.
    const starts = span.start + 1e-9;
    if (cluster.length > 0 && ends.every((end) => end <= starts)) flush();
    let track = ends.findIndex((end) => end <= starts);
    if (track === -1) track = ends.length;
    ends[track] = span.start + span.duration;
    cluster.push({ span, track });
  }
  if (cluster.length > 0) flush();
  return out;
}
