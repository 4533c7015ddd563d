/** Checks a Chrome trace for slices that Perfetto would drop: they overlap another one in their thread. */
import assert from "node:assert/strict";

interface Event {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
}

/** Asserts that no two slices of a thread overlap; returns the number of slices. */
export function expectNoOverlap(trace: string): number {
  const { traceEvents } = JSON.parse(trace) as { traceEvents: Event[] };
  const slices = traceEvents.filter(({ ph }) => ph === "X");
  const nameOf = ({ pid, tid }: Event) => `rank ${pid}, thread ${tid}`;
  for (const thread of new Set(slices.map(nameOf))) {
    const own = slices.filter((slice) => nameOf(slice) === thread);
    const sorted = own.map(({ name, ts, dur }) => ({
      name,
      start: Math.round(ts * 1e3),
      end: Math.round(ts * 1e3) + Math.round(dur * 1e3),
    })).sort((a, b) => a.start - b.start || a.end - b.end);
    for (const [i, slice] of sorted.entries()) {
      const before = sorted[i - 1];
      if (before !== undefined) {
        assert.ok(before.end <= slice.start, `${thread}: ${JSON.stringify(before)} overlaps ${JSON.stringify(slice)}`);
      }
    }
  }
  return slices.length;
}
