/** The place of every chunk and parcel at any moment of a run, and what every rank did, from the spans alone. */
import { ownerAt, type Report, type Span } from "../../engine/run.ts";
import { type TimeKind, timeKind, timeKinds } from "../format/kinds.ts";

/** A message between two ranks, in seconds since the run began. */
export interface Flight {
  readonly kind: "chunk" | "parcel";
  readonly from: number;
  readonly to: number;
  /** The rank that first owned the chunk, or whose queries the parcel answers. */
  readonly owner: number;
  readonly hop: number;
  readonly start: number;
  readonly end: number;
  readonly bytes: number;
  /** Its share of the bytes of a whole message. */
  readonly part: number;
}

/** A chunk or parcel at a moment: at rank `from` if `share` is 0, at `to` if it is 1. */
export interface Place {
  readonly kind: Flight["kind"];
  readonly owner: number;
  readonly from: number;
  readonly to: number;
  readonly share: number;
  /** The share of it that is there: parts that no later rank needs are left behind. */
  readonly part: number;
}

/** What a rank's device does at a moment. */
export interface Doing {
  readonly rank: number;
  readonly kind: TimeKind | "idle";
  /** During attention: the hop, the chunk's owner, and how much of the hop's attention is done. */
  readonly hop?: number;
  readonly owner?: number;
  readonly share?: number;
}

/** A rank's progress with a hop. */
export type Progress = "done" | "now" | "next";

/** A stop of the playback. */
export interface Moment {
  readonly at: number;
  /** The hop; N is the All2All; undefined before the first and after the last. */
  readonly hop: number | undefined;
  readonly name: string;
  /** True if no rank attends in the hop. */
  readonly skipped?: true;
}

/** Bytes of a chunk and of a parcel of which nothing is left out. */
export interface WholeBytes {
  readonly chunk: number;
  readonly parcel: number;
}

/** The motion of a run. */
export interface Motion {
  readonly ranks: number;
  /** Seconds at which the ring began, and at which its last work ended. */
  readonly from: number;
  readonly end: number;
  /** Each chunk's journey, by owner, in order of time. */
  readonly journeys: readonly (readonly Flight[])[];
  readonly parcels: readonly Flight[];
  /** What each rank did, in order of time, as far as the stage shows it. The attention of a hop is one span. */
  readonly devices: readonly (readonly Span[])[];
  readonly moments: readonly Moment[];
}

/** The motion of a run, from its report. Without `whole`, every message is whole. */
export function motionOf({ spans, ranks }: Pick<Report, "spans" | "ranks">, whole?: WholeBytes): Motion {
  const received = spans.filter(({ lane }) => lane === "receive").sort((a, b) => a.start - b.start);
  const flight = (span: Span): Flight => {
    const { rank: to, peer: from = to, hop, start, bytes } = span;
    const parcel = span.kind === "all2all";
    return {
      kind: parcel ? "parcel" : "chunk",
      from,
      to,
      owner: parcel ? to : ownerAt(from, hop, ranks),
      hop: parcel ? ranks : hop,
      start,
      end: start + span.duration,
      bytes,
      part: whole === undefined ? 1 : Math.min(1, bytes / whole[parcel ? "parcel" : "chunk"]),
    };
  };
  const flights = received.map(flight);
  const devices = Array.from(
    { length: ranks },
    (_, rank) =>
      wholeHops(
        spans.filter((span) =>
          span.rank === rank && span.lane === "device" && timeKinds[timeKind(span)].doing !== undefined
        ).sort((a, b) => a.start - b.start),
      ),
  );
  const of = [...devices.flat(), ...received];
  const from = of.length === 0 ? 0 : Math.min(...of.map(({ start }) => start));
  const end = of.length === 0 ? 0 : Math.max(...of.map(({ start, duration }) => start + duration));
  const parcels = flights.filter(({ kind }) => kind === "parcel");
  const journeys = Array.from(
    { length: ranks },
    (_, owner) => flights.filter((f) => f.kind === "chunk" && f.owner === owner),
  );
  return {
    ranks,
    from,
    end,
    journeys,
    parcels,
    devices,
    moments: momentsOf(devices.flat(), journeys.flat(), parcels, ranks, from, end),
  };
}

/** One rank's spans in order of time. The attention of a hop, which may be in slices, becomes one span. */
function wholeHops(spans: readonly Span[]): Span[] {
  const whole: Span[] = [];
  const hops = new Map<number, number>();
  for (const span of spans) {
    const at = span.kind === "attend" ? hops.get(span.hop) : undefined;
    if (at === undefined) {
      if (span.kind === "attend") hops.set(span.hop, whole.length);
      whole.push(span);
    } else {
      const first = whole[at];
      whole[at] = {
        ...first,
        duration: Math.max(first.duration, span.start + span.duration - first.start),
        flops: first.flops + span.flops,
      };
    }
  }
  return whole;
}

/** Every chunk's place at `time`, in order of owners, then the parcels under way. */
export function placesAt({ journeys, parcels }: Motion, time: number): Place[] {
  const chunks = journeys.map((journey, owner): Place => {
    const last = journey.findLast(({ start }) => start <= time);
    return last === undefined
      ? { kind: "chunk", owner, from: owner, to: owner, share: 0, part: 1 }
      : placeOf(last, time);
  });
  return [
    ...chunks,
    ...parcels.filter(({ start, end }) => start <= time && time < end).map((parcel) => placeOf(parcel, time)),
  ];
}

function placeOf({ kind, owner, from, to, start, end, part }: Flight, time: number): Place {
  return { kind, owner, from, to, share: time >= end ? 1 : (time - start) / (end - start), part };
}

/** What every rank's device does at `time`. */
export function doingAt({ devices }: Motion, time: number): Doing[] {
  return devices.map((spans, rank): Doing => {
    const span = spans.findLast(({ start, duration }) => start <= time && time < start + duration);
    if (span === undefined) return { rank, kind: "idle" };
    const { hop, peer: owner, start, duration } = span;
    return span.kind === "attend"
      ? { rank, kind: "attend", hop, owner, share: (time - start) / duration }
      : { rank, kind: timeKind(span) };
  });
}

/** Whether each rank's attention of each hop is done, under way or next at `time`: `[rank][hop]`. */
export function hopsAt({ devices, ranks }: Motion, time: number): Progress[][] {
  return devices.map((spans) => {
    const own = new Array<Progress>(ranks).fill("next");
    for (const { kind, hop, start, duration } of spans) {
      if (kind === "attend") {
        own[hop] = time >= start + duration ? "done" : time >= start ? "now" : "next";
      }
    }
    return own;
  });
}

/**
 * Stops: the start, each hop while most ranks are in it, the All2All while most parcels are under way, the end. A hop in
 * which no rank attends is where most of its chunks are under way, or at the end of the hops before it.
 */
function momentsOf(
  devices: readonly Span[],
  chunks: readonly Flight[],
  parcels: readonly Flight[],
  ranks: number,
  from: number,
  end: number,
): Moment[] {
  if (devices.length === 0) return [];
  const attends = devices.filter(({ kind }) => kind === "attend").map(({ hop, start, duration }) => ({
    hop,
    start,
    end: start + duration,
  }));
  const hops = Array.from({ length: ranks }, (_, hop): Moment => {
    const of = (all: readonly { readonly hop: number; readonly start: number; readonly end: number }[]) =>
      busiest(all.filter((one) => one.hop === hop));
    const at = of(attends);
    if (at !== undefined) return { hop, name: `hop ${hop}`, at };
    const before = attends.filter((one) => one.hop < hop).map((one) => one.end);
    return { hop, name: `hop ${hop}`, at: of(chunks) ?? Math.max(from, ...before), skipped: true };
  });
  const exchange = busiest(parcels);
  return [
    { hop: undefined, name: "start", at: from },
    ...hops,
    ...(exchange === undefined ? [] : [{ hop: ranks, name: "All2All", at: exchange }]),
    { hop: undefined, name: "end", at: end },
  ];
}

/** The middle of the time in which most intervals overlap; the longest of such times. */
function busiest(intervals: readonly { readonly start: number; readonly end: number }[]): number | undefined {
  const times = [...new Set(intervals.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
  if (times.length < 2) return times[0];
  let best = { count: -1, length: 0, at: times[0] };
  for (let i = 0; i + 1 < times.length; i++) {
    const at = (times[i] + times[i + 1]) / 2;
    const count = intervals.filter(({ start, end }) => start <= at && at < end).length;
    const length = times[i + 1] - times[i];
    if (count > best.count || (count === best.count && length > best.length)) best = { count, length, at };
  }
  return best.at;
}

/** Seconds of playback at speed 1: enough time for each hop. */
export function watchSeconds(ranks: number): number {
  return Math.min(24, 4 + 1.5 * ranks);
}
