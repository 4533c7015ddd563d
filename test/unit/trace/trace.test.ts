/** Spans as a Chrome trace, and as the times of a report. */
import assert from "node:assert/strict";
import test from "node:test";
import { Recorder } from "../../../engine/trace/clock.ts";
import { chromeTrace } from "../../../engine/trace/perfetto.ts";
import type { Kind, Lane, Span } from "../../../engine/trace/span.ts";
import { timesOf } from "../../../engine/trace/summary.ts";
import { expectNoOverlap } from "./overlaps.ts";

function span(
  rank: number,
  lane: Lane,
  kind: Kind,
  hop: number,
  start: number,
  duration: number,
  facts: { bytes?: number; flops?: number; peer?: number } = {},
): Span {
  return { rank, lane, kind, hop, start, duration, bytes: 0, flops: 0, ...facts };
}

const SPANS: readonly Span[] = [
  span(2, "device", "attend", 0, 0.25, 0.5, { flops: 4096, peer: 2 }),
  span(0, "send", "send", 0, 0.001, 0.002, { bytes: 7424, peer: 2 }),
  span(2, "receive", "receive", 0, 0.001, 0.0025, { bytes: 7424, peer: 0 }),
  span(0, "host", "compile", 1, 0, 1e-6),
];

test("chromeTrace: one process a rank, one thread a lane, times in microseconds", () => {
  const trace = JSON.parse(chromeTrace(SPANS, 'a "title"'));
  assert.deepEqual(Object.keys(trace).sort(), ["displayTimeUnit", "otherData", "traceEvents"]);
  assert.equal(trace.displayTimeUnit, "ms");
  assert.equal(trace.otherData.title, 'a "title"');
  const names = trace.traceEvents.filter((e: { ph: string }) => e.ph === "M");
  const processes = names.filter((e: { name: string }) => e.name === "process_name");
  assert.deepEqual(processes.map((e: { pid: number; args: object }) => [e.pid, e.args]), [[0, { name: "rank 0" }], [2, {
    name: "rank 2",
  }]]);
  const sorting = names.filter((e: { name: string }) => e.name === "process_sort_index");
  assert.deepEqual(sorting.map((e: { pid: number; args: object }) => [e.pid, e.args]), [[0, { sort_index: 0 }], [2, {
    sort_index: 2,
  }]]);
  const threads = new Map<string, string>(
    names.filter((e: { name: string }) => e.name === "thread_name").map((
      e: { pid: number; tid: number; args: { name: string } },
    ) => [`${e.pid} ${e.tid}`, e.args.name]),
  );
  assert.equal(names.length, processes.length + sorting.length + 2 * threads.size);
  const events = trace.traceEvents.filter((e: { ph: string }) => e.ph !== "M");
  assert.deepEqual(events.map((e: { pid: number; tid: number }) => threads.get(`${e.pid} ${e.tid}`)), [
    "device",
    "send",
    "receive",
    "host",
  ]);
  assert.deepEqual(events.map(({ tid: _, ...e }: { tid: number }) => e), [
    {
      ph: "X",
      name: "attend, hop 0",
      cat: "attend",
      pid: 2,
      ts: 250000,
      dur: 500000,
      args: { hop: 0, bytes: 0, flops: 4096, peer: 2 },
    },
    {
      ph: "X",
      name: "send, hop 0",
      cat: "send",
      pid: 0,
      ts: 1000,
      dur: 2000,
      args: { hop: 0, bytes: 7424, flops: 0, peer: 2 },
    },
    {
      ph: "X",
      name: "receive, hop 0",
      cat: "receive",
      pid: 2,
      ts: 1000,
      dur: 2500,
      args: { hop: 0, bytes: 7424, flops: 0, peer: 0 },
    },
    { ph: "X", name: "compile, hop 1", cat: "compile", pid: 0, ts: 0, dur: 1, args: { hop: 1, bytes: 0, flops: 0 } },
  ]);
});

test("chromeTrace: messages that overlap on a link get different threads in any order; those that touch share one", () => {
  const trace = chromeTrace([
    span(0, "send", "all2all", 3, 0.3, 0.1),
    span(0, "send", "all2all", 3, 0.1, 0.25),
    span(0, "send", "all2all", 3, 0.1, 0.1),
    span(0, "send", "all2all", 3, 0.1 + 0.25, 0.1),
    span(0, "device", "attend", 0, 0.1, 0.2),
    span(0, "device", "merge", 0, 0.1 + 0.2, 0.1),
  ], "");
  assert.equal(expectNoOverlap(trace), 6);
  const { traceEvents } = JSON.parse(trace) as {
    traceEvents: { ph: string; tid: number; name: string; args: { name: string } }[];
  };
  assert.deepEqual(traceEvents.filter((e) => e.name === "thread_name").map((e) => [e.tid, e.args.name]), [
    [0, "device"],
    [1, "send"],
    [2, "send 2"],
    [3, "receive"],
    [4, "host"],
  ]);
  assert.deepEqual(traceEvents.filter((e) => e.ph === "X").map((e) => e.tid), [2, 1, 2, 1, 0, 0]);
  assert.throws(
    () =>
      expectNoOverlap(
        JSON.stringify({
          traceEvents: [{ ph: "X", pid: 0, tid: 0, ts: 0, dur: 2 }, { ph: "X", pid: 0, tid: 0, ts: 1, dur: 2 }],
        }),
      ),
    /overlaps/,
  );
});

test("chromeTrace of random spans has every span, and no two overlap in a thread", () => {
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const spans = Array.from(
    { length: 3000 },
    () =>
      span(
        Math.floor(random() * 5),
        (["device", "send", "receive", "host"] as const)[Math.floor(random() * 4)],
        "send",
        0,
        random(),
        random() ** 8,
      ),
  );
  assert.equal(expectNoOverlap(chromeTrace(spans, "")), 3000);
});

test("chromeTrace of no spans is a trace without events", () => {
  assert.deepEqual(JSON.parse(chromeTrace([], "none")).traceEvents, []);
});

test("timesOf: by kind, from the rank that spent most on it; transfers on the link's lanes don't count as waiting", () => {
  const times = timesOf([
    span(0, "device", "attend", 0, 0, 2),
    span(0, "device", "attend", 1, 2, 3),
    span(1, "device", "attend", 0, 0, 4),
    span(0, "device", "wait", 0, 2, 0.25),
    span(1, "device", "wait", 1, 4, 0.5),
    span(1, "device", "all2all", 1, 5, 0.125),
    span(0, "device", "late", 1, 5, 0.375),
    span(1, "device", "barrier", 0, 0, 0.875),
    span(1, "send", "all2all", 1, 5, 100),
    span(1, "receive", "all2all", 1, 5, 100),
    span(0, "send", "send", 0, 0, 100),
    span(1, "receive", "receive", 0, 0, 100),
    span(1, "host", "compile", 0, 0, 0.75),
    span(0, "host", "upload", 0, 0, 0.1),
    span(0, "host", "upload", 1, 0, 0.2),
    span(1, "host", "upload", 0, 0, 0.25),
    span(0, "device", "merge", 1, 6, 0.0625),
    span(0, "host", "download", 1, 6, 100),
  ], 9);
  assert.deepEqual(times, {
    compile: 0.75,
    barrier: 0.875,
    upload: 0.1 + 0.2,
    attend: 5,
    exchange: 0.625,
    late: 0.375,
    merge: 0.0625,
    total: 9,
  });
});

test("timesOf of no spans has only the total", () => {
  assert.deepEqual(timesOf([], 1.5), {
    compile: 0,
    barrier: 0,
    upload: 0,
    attend: 0,
    exchange: 0,
    late: 0,
    merge: 0,
    total: 1.5,
  });
});

test("a Recorder's spans count from the run's origin, and onBegin reports each beginning", () => {
  const begun: [Kind, number][] = [];
  const recorder = new Recorder(3, 1000);
  recorder.onBegin = (kind, hop) => begun.push([kind, hop]);
  const start = recorder.begin("attend", 2);
  recorder.add("device", "attend", 2, start, { flops: 64, peer: 1 }, 0.5);
  recorder.add("send", "send", 2, start, { bytes: 32 });
  const [attend, send] = recorder.spans;
  assert.deepEqual(begun, [["attend", 2]]);
  assert.deepEqual(attend, {
    rank: 3,
    lane: "device",
    kind: "attend",
    hop: 2,
    start: start - 1000,
    duration: 0.5,
    bytes: 0,
    flops: 64,
    peer: 1,
  });
  assert.equal(Object.hasOwn(send, "peer"), false);
  assert.ok(send.duration >= 0 && send.duration < 5);
  // The clock is the machine's, so that spans of different workers fit together.
  assert.ok(Math.abs(start - Date.now() / 1000) < 5);
});
