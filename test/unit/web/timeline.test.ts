// The timeline's arithmetic: ticks, tracks, and what hops cost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes, formatError, formatFlops, formatTime } from "../../../web/lib/format/format.ts";
import { hatched, spanKinds, sums, timeKind, timeKinds } from "../../../web/lib/format/kinds.ts";
import { all2allOf, hopsOf } from "../../../web/lib/timeline/hops.ts";
import { layOut } from "../../../web/lib/timeline/layout.ts";
import { ticks, toSeconds, toX } from "../../../web/lib/timeline/scale.ts";
import { describe } from "../../../web/lib/timeline/words.ts";
import type { Span } from "../../../web/engine/run.ts";

const span = (more: Partial<Span>): Span => ({
  rank: 0,
  lane: "device",
  kind: "attend",
  hop: 0,
  start: 0,
  duration: 1,
  bytes: 0,
  flops: 0,
  ...more,
});

test("ticks are round, in one unit, and as many as fit", () => {
  assert.deepEqual(ticks(0, 0.0123, 6), {
    unit: "ms",
    ticks: [0, 0.005, 0.01].map((at) => ({ at, label: String(Math.round(at * 1000)) })),
  });
  assert.deepEqual(ticks(0, 1, 5).ticks.map(({ label }) => label), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  assert.equal(ticks(0, 3e-6, 4).unit, "µs");
  for (const [from, to] of [[0, 1e-7], [3.78, 4.89], [12, 120], [0.93, 0.9301]]) {
    assert.ok(ticks(from, to, 10).ticks.length <= 11);
  }
});

test("pixels and seconds convert both ways", () => {
  const scale = { from: 2, to: 4, left: 80, width: 1000 };
  assert.equal(toX(scale, 3), 580);
  assert.equal(toSeconds(scale, 580), 3);
});

test("spans that overlap in a lane share its height; those that touch do not", () => {
  const { spans, ranks } = layOut(
    [
      span({ rank: 1, lane: "send", kind: "all2all", start: 0, duration: 2 }),
      span({ rank: 1, lane: "send", kind: "all2all", start: 1, duration: 2 }),
      span({ rank: 1, lane: "send", kind: "send", start: 3, duration: 1 }),
      span({ rank: 0, start: 0 }),
    ],
    2,
    0,
  );
  const heights = spans.map((placed) => placed.height);
  assert.deepEqual(spans.map((placed) => placed.span.rank), [0, 1, 1, 1]);
  assert.equal(heights[1], heights[3] / 2);
  assert.equal(spans[2].y, spans[1].y + heights[1]);
  assert.deepEqual(ranks.map((rank) => rank.lanes.map(({ lane }) => lane)), [["device", "send", "receive"], [
    "device",
    "send",
    "receive",
  ]]);
});

test("every kind of span is counted as one kind of time; a device in All2All waits; each wait has a hatching of its own", () => {
  for (const [kind, { time, onDevice }] of Object.entries(spanKinds)) {
    assert.equal(timeKind({ kind: kind as Span["kind"], lane: "host" }), time);
    assert.equal(timeKind({ kind: kind as Span["kind"], lane: "device" }), onDevice ?? time);
  }
  assert.equal(timeKind({ kind: "all2all", lane: "send" }), "transfer");
  assert.deepEqual(hatched, ["wait", "late", "all2all", "barrier"]);
  assert.equal(new Set(hatched.map((kind) => timeKinds[kind].leans! % 180)).size, hatched.length);
  assert.equal(new Set(sums.map(({ key }) => key)).size, sums.length);
});

test("a hop takes as long as its slowest rank; overlapping transfers are counted once", () => {
  const spans = [
    span({ rank: 0, duration: 2, flops: 10 }),
    span({ rank: 1, duration: 3, flops: 20 }),
    span({ rank: 1, hop: 1, duration: 5 }),
    span({ rank: 0, lane: "send", kind: "send", duration: 4, bytes: 100 }),
    span({ rank: 1, lane: "receive", kind: "receive", duration: 9, bytes: 100 }),
    span({ rank: 0, lane: "send", kind: "all2all", hop: 1, duration: 4, bytes: 7 }),
    span({ rank: 0, lane: "send", kind: "all2all", hop: 1, start: 2, duration: 4, bytes: 7 }),
    span({ rank: 1, kind: "all2all", hop: 1, duration: 6, bytes: 14 }),
  ];
  assert.deepEqual(hopsOf(spans, 2)[0], { hop: 0, attend: 3, transfer: 4, wait: 0, late: 0, bytes: 100, flops: 30 });
  assert.deepEqual(all2allOf(spans, 2), { transfer: 6, wait: 6, late: 0, bytes: 14 });
});

test("waiting for the link and for a late sender are counted apart, in a hop and in the All2All", () => {
  const spans = [
    span({ kind: "late", duration: 3, peer: 1 }),
    span({ kind: "wait", start: 3, duration: 2 }),
    span({ rank: 1, kind: "late", duration: 4, peer: 0 }),
    span({ kind: "late", hop: 1, start: 6, duration: 7, peer: 1 }),
    span({ kind: "all2all", hop: 1, start: 13, duration: 1 }),
  ];
  const waited = ({ wait, late }: { readonly wait: number; readonly late: number }) => [wait, late];
  assert.deepEqual(hopsOf(spans, 2).map(waited), [[2, 4], [0, 0]]);
  assert.deepEqual(waited(all2allOf(spans, 2)), [1, 7]);
  assert.equal(describe(spans[0]), "rank 0, hop 0, wait for a late sender rank 1, 3.00 s from 0 s");
  assert.equal(describe(spans[1]), "rank 0, hop 0, wait for the link, 2.00 s from 3.00 s");
});

test("a span is described in one line", () => {
  assert.equal(
    describe(span({ rank: 2, hop: 1, start: 0.0124, duration: 0.00271, flops: 1.2e8, peer: 1 })),
    "rank 2, hop 1, attend chunk of rank 1, 2.71 ms from 12.4 ms, 120 MFLOP at 44.3 GFLOP/s",
  );
  assert.equal(
    describe(span({ lane: "send", kind: "send", duration: 1e-3, bytes: 131072, peer: 1 })),
    "rank 0, hop 0, send to rank 1, 1.00 ms from 0 s, 131,072 B at 131 MB/s",
  );
});

test("numbers have three digits and a unit", () => {
  assert.deepEqual([0, 1.5e-9, 2.34e-6, 0.0123, 0.9999, 61.2].map(formatTime), [
    "0 s",
    "1.50 ns",
    "2.34 µs",
    "12.3 ms",
    "1.00 s",
    "61.2 s",
  ]);
  assert.deepEqual([12, 131072, 5e9].map(formatBytes), ["12 B", "131 kB", "5.00 GB"]);
  assert.equal(formatFlops(1.8795e9), "1.88 GFLOP");
  assert.deepEqual([0, 3.61e-7, Infinity].map(formatError), ["0", "3.6e-7", "infinite"]);
});
