/**
 * What ranks' traces say of a ring: steps cut into hops, and how much of each hop's communication ran beside computation
 * and how much the rank waited for.
 */
import type { KinetoEvent, KinetoTrace } from "./kineto.ts";
import type { Span } from "./span.ts";

/** One hop of one rank. Seconds. */
export interface TracedHop {
  readonly rank: number;
  readonly step: number | undefined;
  /** From 0 within the step. */
  readonly hop: number;
  readonly start: number;
  /** Communication kernels of the hop, together. */
  readonly communication: number;
  /** The part of it that ran beside computation, and the part that did not. */
  readonly hidden: number;
  readonly exposed: number;
  /** Attention kernels of the hop. */
  readonly attention: number;
  readonly bytes: number | undefined;
  /** Names of its communication kernels. */
  readonly kernels: readonly string[];
}

/** One step of one rank. Seconds. */
export interface TracedStep {
  readonly rank: number;
  readonly step: number | undefined;
  readonly start: number;
  /** From its first kernel to the end of its last. */
  readonly total: number;
  readonly attention: number;
  /** All that computes, attention among it. */
  readonly computation: number;
  readonly communication: number;
  readonly exposed: number;
  /** With all communication hidden: `total - exposed`. */
  readonly ideal: number;
}

/** The whole reading. */
export interface TraceReading {
  readonly ranks: readonly number[];
  /** Seconds to add to a rank's clock, so that exchanges end together. */
  readonly offsets: readonly { readonly rank: number; readonly seconds: number }[];
  readonly steps: readonly TracedStep[];
  readonly hops: readonly TracedHop[];
  /** By step and hop: the rank that came last, and how long after the first. */
  readonly stragglers: readonly {
    readonly step: number | undefined;
    readonly hop: number;
    readonly rank: number;
    readonly late: number;
  }[];
  /** Kernels whose names no table knows: counted as computation. */
  readonly unknown: readonly { readonly name: string; readonly count: number; readonly seconds: number }[];
  /** A timeline of attention, messages and waits. */
  readonly spans: readonly Span[];
}

interface Interval {
  readonly from: number;
  readonly to: number;
}

/** Reads the ring out of the ranks' traces. */
export function readHops(traces: readonly KinetoTrace[]): TraceReading {
  const sorted = traces.toSorted((a, b) => a.rank - b.rank);
  const cut = sorted.map((trace) => ({ trace, steps: stepsOf(trace, sorted.length) }));
  const offsets = offsetsOf(cut.map(({ steps }) => steps));
  const steps: TracedStep[] = [];
  const hops: TracedHop[] = [];
  const spans: Span[] = [];
  const origin = Math.min(...sorted.map(({ events }, i) => events[0].start + offsets[i]));
  for (const [i, { trace, steps: own }] of cut.entries()) {
    const shift = offsets[i] - origin;
    for (const one of own) {
      const { step, events, busy } = one;
      const communication = union(events.filter(isMessage));
      const [{ start }] = events;
      const total = lastEnd(events) - start;
      const exposed = length(minus(communication, busy));
      steps.push({
        rank: trace.rank,
        step,
        start: start + shift,
        total,
        attention: length(union(events.filter(isAttention))),
        computation: length(busy),
        communication: length(communication),
        exposed,
        ideal: total - exposed,
      });
      for (const [hop, group] of one.hops.entries()) {
        const all = union(group.messages);
        const waited = minus(all, busy);
        hops.push({
          rank: trace.rank,
          step,
          hop,
          start: group.messages[0].start + shift,
          communication: length(all),
          hidden: length(all) - length(waited),
          exposed: length(waited),
          attention: length(union(group.attention)),
          bytes: sumOf(group.messages.map(({ bytes }) => bytes)),
          kernels: [...new Set(group.messages.map(({ name }) => shortName(name)))],
        });
        const span = (lane: Span["lane"], kind: Span["kind"], { from, to }: Interval): Span => ({
          rank: trace.rank,
          lane,
          kind,
          hop,
          start: from + shift,
          duration: to - from,
          bytes: 0,
          flops: 0,
        });
        spans.push(...group.attention.map((e) => span("device", "attend", { from: e.start, to: endOf(e) })));
        spans.push(...all.map((interval) => span("receive", "receive", interval)));
        spans.push(...waited.map((interval) => span("device", "wait", interval)));
      }
    }
  }
  return {
    ranks: sorted.map(({ rank }) => rank),
    offsets: sorted.map(({ rank }, i) => ({ rank, seconds: offsets[i] })),
    steps,
    hops,
    stragglers: stragglersOf(hops),
    unknown: unknownOf(sorted),
    spans,
  };
}

interface CutStep {
  readonly step: number | undefined;
  readonly events: readonly KinetoEvent[];
  readonly busy: readonly Interval[];
  readonly hops: readonly { readonly messages: readonly KinetoEvent[]; readonly attention: readonly KinetoEvent[] }[];
}

const isMessage = ({ kind }: KinetoEvent) => kind === "communication";
const isAttention = ({ kind }: KinetoEvent) => kind === "attention";
const endOf = ({ start, duration }: KinetoEvent) => start + duration;
// Not Math.max of a spread: a step may have more kernels than a call takes arguments.
const lastEnd = (events: readonly KinetoEvent[]) => events.reduce((last, e) => Math.max(last, endOf(e)), -Infinity);

function stepsOf({ events, worldSize }: KinetoTrace, traces: number): CutStep[] {
  const numbers = [...new Set(events.map(({ step }) => step))];
  // What runs outside of every step belongs to none, unless there are no steps.
  const wanted = numbers.length > 1 ? numbers.filter((step) => step !== undefined) : numbers;
  return wanted.sort((a, b) => (a ?? 0) - (b ?? 0)).map((step) => {
    const own = events.filter((e) => e.step === step);
    return {
      step,
      events: own,
      busy: union(own.filter((e) => !isMessage(e))),
      hops: hopsOf(own, traces > 1 ? traces : worldSize ?? 1),
    };
  });
}

/**
 * Messages in groups: as many to a hop as N-1 hops for each N attentions make, since K and V may travel in two. If that
 * is no whole number, a new hop begins with a message before whose start, and after the last one's, an attention ended.
 */
function hopsOf(events: readonly KinetoEvent[], ranks: number): CutStep["hops"] {
  const attention = events.filter(isAttention);
  const ends = attention.map(endOf).sort((a, b) => a - b);
  const all = events.filter(isMessage);
  const each = (all.length * ranks) / (attention.length * (ranks - 1));
  const groups: KinetoEvent[][] = [];
  for (const [i, message] of all.entries()) {
    if (Number.isInteger(each) && each >= 1) {
      if (i % each === 0) groups.push([]);
      groups.at(-1)!.push(message);
      continue;
    }
    const last = groups.at(-1)?.at(-1);
    const apart = last === undefined || ends.length === 0 ||
      ends.some((end) => last.start < end && end <= message.start);
    if (apart) groups.push([message]);
    else groups.at(-1)!.push(message);
  }
  const starts = groups.map(([first]) => first.start);
  return groups.map((messages, i) => ({
    messages,
    // An attention belongs to the hop whose messages began last before its middle.
    attention: attention.filter((e) => {
      const middle = e.start + e.duration / 2;
      return (i === 0 || starts[i] <= middle) && (i + 1 === groups.length || middle < starts[i + 1]);
    }),
  }));
}

/** Clocks of different machines: the median difference of the ends of the same hops. */
function offsetsOf(ranks: readonly (readonly CutStep[])[]): number[] {
  const ends = ranks.map((steps) =>
    new Map(
      steps.flatMap(({ step, hops }) =>
        hops.map(({ messages }, hop) => [`${step} ${hop}`, lastEnd(messages)] as const)
      ),
    )
  );
  return ends.map((own) => {
    const apart = [...own].filter(([hop]) => ends[0].has(hop)).map(([hop, end]) => ends[0].get(hop)! - end)
      .sort((a, b) => a - b);
    return apart.length === 0 ? 0 : apart[Math.floor(apart.length / 2)];
  });
}

function stragglersOf(hops: readonly TracedHop[]): TraceReading["stragglers"] {
  const groups = new Map<string, TracedHop[]>();
  for (const hop of hops) {
    const key = `${hop.step} ${hop.hop}`;
    groups.set(key, [...(groups.get(key) ?? []), hop]);
  }
  return [...groups.values()].filter((group) => group.length > 1).map((group) => {
    const [first, last] = [
      group.reduce((a, b) => b.start < a.start ? b : a),
      group.reduce((a, b) => b.start > a.start ? b : a),
    ];
    return { step: last.step, hop: last.hop, rank: last.rank, late: last.start - first.start };
  });
}

function unknownOf(traces: readonly KinetoTrace[]): TraceReading["unknown"] {
  const found = new Map<string, { count: number; seconds: number }>();
  for (const { events } of traces) {
    for (const { name, kind, duration } of events) {
      if (kind !== "unknown") continue;
      const one = found.get(name) ?? { count: 0, seconds: 0 };
      found.set(name, { count: one.count + 1, seconds: one.seconds + duration });
    }
  }
  return [...found].map(([name, facts]) => ({ name, ...facts })).sort((a, b) => b.seconds - a.seconds);
}

/** A kernel's name without its parameters. */
export function shortName(name: string): string {
  return name.replace(/[<(].*$/, "").trim() || name;
}

function sumOf(values: readonly (number | undefined)[]): number | undefined {
  return values.some((value) => value === undefined)
    ? undefined
    : values.reduce<number>((sum, value) => sum + value!, 0);
}

/** Intervals in order, none touching another. */
function union(events: readonly KinetoEvent[]): Interval[] {
  const out: { from: number; to: number }[] = [];
  for (const { start, duration } of events.toSorted((a, b) => a.start - b.start)) {
    const last = out.at(-1);
    if (last !== undefined && start <= last.to) last.to = Math.max(last.to, start + duration);
    else out.push({ from: start, to: start + duration });
  }
  return out;
}

/** The parts of some intervals that lie in none of the others. Both are unions. */
function minus(intervals: readonly Interval[], others: readonly Interval[]): Interval[] {
  return intervals.flatMap(({ from, to }) => {
    const parts: Interval[] = [];
    let at = from;
    for (const other of others) {
      if (other.to <= at || other.from >= to) continue;
      if (other.from > at) parts.push({ from: at, to: other.from });
      at = Math.max(at, other.to);
    }
    if (at < to) parts.push({ from: at, to });
    return parts;
  });
}

function length(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, { from, to }) => sum + to - from, 0);
}
