/** Writes spans as Chrome-trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open. */
import type { Lane, Span } from "./span.ts";

const LANES: readonly Lane[] = ["device", "send", "receive", "host"];

/** Spans of one thread in the trace. */
interface Thread {
  readonly rank: number;
  readonly name: string;
  readonly tid: number;
}

/**
 * A rank becomes a process and a lane a thread. Times are in microseconds, as the format demands.
 *
 * Perfetto drops a slice that overlaps another one in its thread without lying inside it, and messages on one link do
 * overlap. Such a lane gets several threads, and each span goes to the first free one.
 */
export function chromeTrace(spans: readonly Span[], title: string): string {
  const { threads, threadOf } = threadsOf(spans);
  const ranks = [...new Set(threads.map(({ rank }) => rank))];
  const names = [
    ...ranks.flatMap((rank) => [
      { ph: "M", name: "process_name", pid: rank, args: { name: `rank ${rank}` } },
      { ph: "M", name: "process_sort_index", pid: rank, args: { sort_index: rank } },
    ]),
    ...threads.flatMap(({ rank, name, tid }) => [
      { ph: "M", name: "thread_name", pid: rank, tid, args: { name } },
      { ph: "M", name: "thread_sort_index", pid: rank, tid, args: { sort_index: tid } },
    ]),
  ];
  const events = spans.map((span) => {
    const { rank, kind, hop, bytes, flops, peer } = span;
    const { start, end } = nanoseconds(span);
    const args = { hop, bytes, flops, ...(peer === undefined ? {} : { peer }) };
    return {
      ph: "X",
      name: `${kind}, hop ${hop}`,
      cat: kind,
      pid: rank,
      tid: threadOf.get(span)!.tid,
      ts: start / 1e3,
      dur: (end - start) / 1e3,
      args,
    };
  });
  return JSON.stringify({ displayTimeUnit: "ms", otherData: { title }, traceEvents: [...names, ...events] });
}

/** Every rank's threads, at least one for each lane, and the thread of each span. */
function threadsOf(spans: readonly Span[]): { threads: Thread[]; threadOf: Map<Span, Thread> } {
  const threadOf = new Map<Span, Thread>();
  const threads: Thread[] = [];
  const byRank = new Map<number, Span[]>();
  for (const span of spans) {
    const own = byRank.get(span.rank);
    if (own === undefined) byRank.set(span.rank, [span]);
    else own.push(span);
  }
  for (const rank of [...byRank.keys()].sort((a, b) => a - b)) {
    let tid = 0;
    for (const lane of LANES) {
      const own: { thread: Thread; free: number }[] = [];
      const add = () => {
        own.push({
          thread: { rank, name: own.length === 0 ? lane : `${lane} ${own.length + 1}`, tid: tid++ },
          free: -Infinity,
        });
        return own[own.length - 1];
      };
      add();
      for (const span of byRank.get(rank)!.filter((s) => s.lane === lane).sort((a, b) => a.start - b.start)) {
        const { start, end } = nanoseconds(span);
        const taken = own.find(({ free }) => free <= start) ?? add();
        taken.free = end;
        threadOf.set(span, taken.thread);
      }
      threads.push(...own.map(({ thread }) => thread));
    }
  }
  return { threads, threadOf };
}

/** Whole nanoseconds, as Perfetto keeps them. Spans that touch in seconds then don't overlap. */
function nanoseconds({ start, duration }: Span): { start: number; end: number } {
  return { start: Math.round(start * 1e9), end: Math.round((start + duration) * 1e9) };
}
