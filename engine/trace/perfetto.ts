/** Spans as Chrome-trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open. */
import type { Lane, Span } from "./span.ts";

const LANES: readonly Lane[] = ["device", "send", "receive", "host"];

/** One process a rank, one thread a lane; times in microseconds as the format wants. */
export function chromeTrace(spans: readonly Span[], title: string): string {
  const ranks = [...new Set(spans.map((s) => s.rank))].sort((a, b) => a - b);
  const names = ranks.flatMap((rank) => [
    { ph: "M", name: "process_name", pid: rank, args: { name: `rank ${rank}` } },
    { ph: "M", name: "process_sort_index", pid: rank, args: { sort_index: rank } },
    ...LANES.map((lane, tid) => ({ ph: "M", name: "thread_name", pid: rank, tid, args: { name: lane } })),
  ]);
  const events = spans.map(({ rank, lane, kind, hop, start, duration, bytes, flops, peer }) => ({
    ph: "X",
    name: `${kind}, hop ${hop}`,
    cat: kind,
    pid: rank,
    tid: LANES.indexOf(lane),
    ts: start * 1e6,
    dur: duration * 1e6,
    args: { hop, bytes, flops, ...(peer === undefined ? {} : { peer }) },
  }));
  return JSON.stringify({ displayTimeUnit: "ms", otherData: { title }, traceEvents: [...names, ...events] });
}
