// The stage's arithmetic: where chunks were and what ranks did, against the spans of a run; what touches what; bytes
// and work.
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import { experiment } from "../../experiment.ts";
import { maskOf, ownerAt, readMask, type Report, type Span, type Variant } from "../../../web/engine/run.ts";
import { numberSize, onRing, pointOf, sizes } from "../../../web/lib/stage/geometry.ts";
import { doingAt, hopsAt, motionOf, placesAt } from "../../../web/lib/stage/motion.ts";
import { Player } from "../../../web/lib/stage/player.ts";
import { Selection, subjectOf, touches } from "../../../web/lib/stage/selection.ts";
import { areasOf, middleOf, sizeOf } from "../../../web/lib/stage/regions.ts";
import { imbalance, linksOf, outcomeOf, saySkipped, wholeBytesOf, workOf } from "../../../web/lib/stage/traffic.ts";
import { saySeen } from "../../../web/lib/format/mask.ts";
import { testPlatform } from "../../platform.ts";

/**
 * A run of N ranks as reports give it: attention of 10 s per hop, transfers of 6 s, each rank a second behind the one
 * before.
 */
function run(N: number, variant: Variant): Pick<Report, "spans" | "ranks" | "variant"> {
  const span = (more: Partial<Span>): Span => ({
    rank: 0,
    lane: "device",
    kind: "attend",
    hop: 0,
    start: 0,
    duration: 10,
    bytes: 0,
    flops: 0,
    ...more,
  });
  const spans: Span[] = [];
  for (let rank = 0; rank < N; rank++) {
    const from = (rank + N - 1) % N;
    spans.push(span({ rank, lane: "host", kind: "upload", start: 0, duration: 3 }));
    for (let hop = 0; hop < N; hop++) {
      const start = 4 + 12 * hop + rank;
      spans.push(span({ rank, hop, start, flops: 100 + rank, peer: ownerAt(rank, hop, N) }));
      if (hop === N - 1) continue;
      spans.push(span({ rank, lane: "send", kind: "send", hop, start, duration: 6, bytes: 50, peer: (rank + 1) % N }));
      spans.push(
        span({
          rank,
          lane: "receive",
          kind: "receive",
          hop,
          start: 4 + 12 * hop + from,
          duration: 6,
          bytes: 50,
          peer: from,
        }),
      );
    }
    if (variant === "pass-kv") continue;
    const start = 4 + 12 * N;
    for (let peer = 0; peer < N; peer++) {
      if (peer !== rank) {
        spans.push(
          span({
            rank,
            lane: "receive",
            kind: "all2all",
            hop: N - 1,
            start: start + peer,
            duration: 4,
            bytes: 20,
            peer,
          }),
          span({ rank, lane: "send", kind: "all2all", hop: N - 1, start: start + rank, duration: 4, bytes: 20, peer }),
        );
      }
    }
    spans.push(
      span({ rank, kind: "all2all", hop: N - 1, start, duration: N + 4 }),
      span({ rank, kind: "merge", hop: N - 1, start: start + N + 5, duration: 1 }),
    );
  }
  return { spans, ranks: N, variant };
}

for (const variant of ["pass-kv", "pass-q"] as const) {
  for (const N of [1, 2, 4, 7]) {
    test(`${variant}, N = ${N}: every chunk is where its messages put it, and every rank does what its spans say`, () => {
      const report = run(N, variant);
      const motion = motionOf(report);
      assert.equal(motion.from, 4);
      assert.equal(motion.end, Math.max(...report.spans.map(({ start, duration }) => start + duration)));
      for (
        const span of report.spans.filter(({ kind, lane }) =>
          lane === "receive" && (kind === "receive" || kind === "all2all")
        )
      ) {
        for (const share of [0.01, 0.25, 0.99]) {
          const place = placesAt(motion, span.start + share * span.duration).find(({ kind, from, to, owner }) =>
            from === span.peer && to === span.rank &&
            (kind === "chunk"
              ? span.kind === "receive" && owner === ownerAt(span.peer!, span.hop, N)
              : span.kind === "all2all" && owner === span.rank)
          );
          assert.ok(place !== undefined, `hop ${span.hop}: nothing flies from ${span.peer} to ${span.rank}`);
          assert.ok(Math.abs(place.share - share) < 1e-9);
        }
      }
      // Before it is sent a chunk is at its owner; after N-1 hops it is at the rank before.
      assert.deepEqual(
        placesAt(motion, 0).map(({ owner, from, to }) => [owner, from, to]),
        Array.from({ length: N }, (_, s) => [s, s, s]),
      );
      const last = placesAt(motion, motion.end).filter(({ kind }) => kind === "chunk");
      assert.deepEqual(
        last.map(({ owner, to, share }) => [owner, to, share]),
        Array.from({ length: N }, (_, s) => [s, (s + N - 1) % N, N === 1 ? 0 : 1]),
      );
      for (const span of report.spans.filter(({ kind }) => kind === "attend")) {
        const { kind, hop, owner, share } = doingAt(motion, span.start + 2.5)[span.rank];
        assert.deepEqual([kind, hop, owner, share], ["attend", span.hop, span.peer, 0.25]);
        assert.deepEqual(
          hopsAt(motion, span.start + 2.5)[span.rank],
          Array.from({ length: N }, (_, j) => (j < span.hop ? "done" : j === span.hop ? "now" : "next")),
        );
      }
      const kindsAt = (time: number) => new Set(doingAt(motion, time).map(({ kind }) => kind));
      if (variant === "pass-q") {
        assert.deepEqual(kindsAt(4 + 12 * N + N + 3.5), new Set(["all2all"]));
        assert.deepEqual(kindsAt(4 + 12 * N + N + 5.5), new Set(["merge"]));
      }
      assert.deepEqual(kindsAt(1), new Set(["idle"]));
      assert.deepEqual(motion.moments.map(({ hop }) => hop), [
        undefined,
        ...Array.from({ length: N }, (_, j) => j),
        ...(variant === "pass-q" && N > 1 ? [N] : []),
        undefined,
      ]);
      for (const { hop, at } of motion.moments) {
        if (hop !== undefined && hop < N) {
          assert.ok(doingAt(motion, at).every((one) => one.hop === hop), `all ranks are in hop ${hop} at ${at}`);
        }
      }
    });
  }
}

test("a run of the engine: blocks of the mask, spans and bytes agree", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const input = experiment({ sequences: [{ new: 40, cached: 23 }], variant });
    const { spans } = await attendInProcess(input, 3, (shape, recorder) => new CpuAttention(shape, recorder));
    const mask = maskOf(input.sequences, 3, variant, true);
    const flops = 4 * input.headDim * input.heads;
    assert.deepEqual(workOf(spans, 3), mask.pairs.map((pairs) => pairs * flops));
    assert.equal(mask.pairs.reduce((a, b) => a + b, 0), 40 * 23 + (40 * 41) / 2);
    const motion = motionOf({ spans, ranks: 3 });
    assert.equal(motion.devices.flat().filter(({ kind }) => kind === "attend").length, 9);
    for (const row of hopsAt(motion, motion.end)) assert.deepEqual(row, ["done", "done", "done"]);
  }
});

test("attention in several spans per hop lasts from the first start to the last end", () => {
  const whole = run(3, "pass-kv");
  const halves = (
    { start, duration, flops }: Span,
  ) => [{ start, duration: 0.4 * duration, flops: 0.4 * flops }, {
    start: start + 0.5 * duration,
    duration: 0.5 * duration,
    flops: 0.6 * flops,
  }];
  const motion = motionOf({
    ranks: 3,
    spans: whole.spans.flatMap((
      span,
    ) => (span.kind === "attend" ? halves(span).map((half) => ({ ...span, ...half })) : [span])),
  });
  for (const { rank, hop, start } of whole.spans.filter(({ kind }) => kind === "attend")) {
    for (const share of [0.1, 0.45, 0.75]) {
      const { kind, share: found } = doingAt(motion, start + 10 * share)[rank];
      assert.ok(kind === "attend" && Math.abs(found! - share) < 1e-9);
      assert.equal(hopsAt(motion, start + 10 * share)[rank][hop], "now");
    }
    assert.equal(hopsAt(motion, start + 10.001)[rank][hop], "done");
  }
  const flops = (spans: readonly Span[]) => workOf(spans, 3).map(Math.round);
  assert.deepEqual(flops(motion.devices.flat()), flops(whole.spans));
  assert.deepEqual(motion.moments.map(({ name }) => name), motionOf(whole).moments.map(({ name }) => name));
});

test("links and outcomes are the ranks' own counts", () => {
  const { spans, ranks } = run(4, "pass-q");
  const perRank = Array.from(
    { length: 4 },
    (_, rank) => ({
      rank,
      bytesSent: 210,
      bytesReceived: 210,
      messages: 6,
      ring: { messages: 3, bytes: 150 },
      all2all: { messages: 3, bytes: 60 },
      paddingBytes: 0,
      skipped: { messages: 0, bytes: 0 },
    }),
  );
  const motion = motionOf({ spans, ranks });
  const links = linksOf({ perRank, ranks }, motion);
  assert.deepEqual(
    links,
    Array.from(
      { length: 4 },
      (_, rank) => ({ rank, to: (rank + 1) % 4, messages: 3, bytes: 150, exchanged: 60, busy: 18 }),
    ),
  );
  const times = { compile: 0, barrier: 0, upload: 0, attend: 40, exchange: 8, late: 0, merge: 1, total: 70 };
  assert.deepEqual(outcomeOf({ perRank, times }, motion), {
    ring: motion.end - 4,
    times,
    ringBytes: 600,
    all2allBytes: 240,
    messages: 24,
  });
  assert.deepEqual(linksOf({ perRank: perRank.slice(0, 1), ranks: 1 }, motionOf(run(1, "pass-kv"))), []);
  assert.equal(imbalance([1, 1, 4, 2]), 2);
  assert.equal(imbalance([0, 0]), 1);
});

test("two selections touch if they agree in every field that both have", () => {
  const block = { rank: 1, hop: 2, owner: 3 };
  for (
    const [facts, yes] of [
      [{ rank: 1 }, true],
      [{ rank: 2 }, false],
      [{ owner: 3 }, true],
      [{ rank: 1, hop: 1, owner: 0 }, false],
      [{ link: 1 }, false],
      [{ hop: 2 }, true],
    ] as const
  ) assert.equal(touches(block, facts), yes);
  assert.equal(touches(undefined, { rank: 1 }), false);
  const span = { rank: 1, lane: "device", kind: "attend", hop: 2, peer: 3 } as const;
  assert.deepEqual(subjectOf(span, 4), block);
  assert.deepEqual(subjectOf({ ...span, lane: "send", kind: "send", peer: 2 }, 4), { ...block, link: 1 });
  assert.deepEqual(subjectOf({ ...span, rank: 2, lane: "receive", kind: "receive", peer: 1 }, 4), {
    rank: 2,
    hop: 2,
    owner: 3,
    link: 1,
  });
  assert.deepEqual(subjectOf({ ...span, lane: "send", kind: "all2all", hop: 3, peer: 0 }, 4), {
    rank: 1,
    hop: 4,
    owner: 0,
  });
});

test("a selection reports changes, prefers what is pointed at to what is chosen, and can be cleared", () => {
  const selection = new Selection();
  const heard: string[] = [];
  for (const name of ["pick", "time"]) selection.addEventListener(name, () => heard.push(name));
  selection.choose({ rank: 1 });
  selection.point({ owner: 2 });
  selection.point({ owner: 2 });
  assert.deepEqual(selection.subject, { owner: 2 });
  selection.point(undefined);
  assert.deepEqual(selection.subject, { rank: 1 });
  selection.choose({ rank: 1 });
  assert.equal(selection.subject, undefined);
  selection.seek(1);
  selection.seek(1);
  assert.deepEqual(heard, ["pick", "pick", "pick", "pick", "time"]);
});

test("a player steps through the stops and stays within the run", () => {
  const selection = new Selection();
  const player = new Player(selection, () => false);
  const motion = motionOf(run(3, "pass-q"));
  player.take([motion]);
  assert.equal(player.time, motion.from);
  const names = [];
  for (let i = 0; i < 7; i++) names.push(player.step(1).name);
  assert.deepEqual(names, ["hop 0", "hop 1", "hop 2", "All2All", "end", "end", "end"]);
  assert.equal(player.moment?.name, "end");
  assert.equal(player.step(-1).name, "All2All");
  player.seek(1e9);
  assert.equal(selection.time, motion.end);
  player.seek(-1);
  assert.equal(selection.time, motion.from);
  assert.ok(Math.abs(player.slowness * (motion.end - motion.from) - 8.5) < 1e-9, "three ranks are watched for 8.5 s");
  player.speed = 2;
  assert.ok(Math.abs(player.slowness * (motion.end - motion.from) - 4.25) < 1e-9);
});

test("a player goes through the hops in order, whichever was busiest first, and where two share a moment", () => {
  const whole = motionOf(run(3, "pass-q"));
  const [start, hop0, hop1, hop2, ...rest] = whole.moments;
  for (const moved of [[hop0, { ...hop1, at: hop2.at + 1 }, hop2], [hop0, { ...hop1, at: hop0.at }, hop2]]) {
    const player = new Player(new Selection(), () => false);
    player.take([{ ...whole, moments: [start, ...moved, ...rest] }]);
    const names = ["start", "hop 0", "hop 1", "hop 2", "All2All", "end"];
    assert.deepEqual(names.slice(1).map(() => player.step(1).name), names.slice(1));
    assert.deepEqual(names.slice(0, -1).map(() => player.step(-1).name), names.slice(0, -1).reverse());
  }
});

for (const variant of ["pass-kv", "pass-q"] as const) {
  for (const dealing of ["head-tail", "contiguous"] as const) {
    test(`${variant}, ${dealing}, a window: hops that nobody needs are stops, and bytes left out are counted`, async () => {
      const N = 8;
      const input = experiment({ sequences: [{ new: 60, cached: 71 }] });
      const cluster = await Cluster.start(await testPlatform(), { ranks: N, backend: "cpu" });
      const mask = { kind: "window", size: 9 } as const;
      const { report } = await cluster.attend({ ...input, variant, dealing, mask }).finally(() => cluster.dispose());
      const picture = maskOf(input.sequences, N, variant, mask, dealing);
      const whole = wholeBytesOf(report, picture);
      const messages = N * (N - 1) * (whole.chunk + (variant === "pass-q" ? whole.parcel : 0));
      const sent = report.perRank.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
      assert.equal(sent + report.skipped.bytes, messages);
      assert.ok(report.skipped.bytes > 0 && report.skipped.messages > 0);
      assert.match(
        saySkipped(report)!,
        new RegExp(`^${report.skipped.hops} of 64 hops, \\d+ of \\d+ messages, [\\d.]+ % of`),
      );

      const motion = motionOf(report, whole);
      const flights = motion.journeys.flat();
      assert.ok(flights.every(({ part }) => part > 0 && part <= 1));
      if (dealing === "head-tail") assert.ok(flights.some(({ part }) => part < 1));
      const attended = new Set(picture.blocks.filter(({ pairs }) => pairs > 0).map(({ hop }) => hop));
      const hops = motion.moments.filter(({ hop }) => hop !== undefined && hop < N);
      assert.deepEqual(hops.map(({ hop }) => hop), Array.from({ length: N }, (_, hop) => hop));
      assert.deepEqual(hops.map(({ skipped = false }) => skipped), hops.map(({ hop }) => !attended.has(hop!)));
      assert.ok(hops.some(({ skipped }) => skipped));
      for (const { at, hop, skipped } of hops) {
        const doing = doingAt(motion, at);
        assert.ok(at > motion.from && at <= motion.end);
        if (skipped) assert.ok(doing.every((one) => one.hop !== hop));
        for (const { kind, share, from, owner } of placesAt(motion, at)) {
          if (kind === "chunk" && share > 0 && share < 1) {
            assert.ok(flights.some((flight) => flight.from === from && flight.owner === owner));
          }
        }
      }
      const player = new Player(new Selection(), () => false);
      player.take([motion]);
      let changes = 0;
      player.addEventListener("change", () => changes++);
      for (let hop = 0; hop < N; hop++) assert.equal(player.step(1).hop, hop);
      assert.equal(changes, N, "stops that share a moment differ in words");
      while (player.goes(1)) player.step(1);
      assert.equal(player.moment!.name, "end");
      while (player.moment!.hop !== N - 1) player.step(-1);
      for (let hop = N - 2; hop >= 0; hop--) assert.equal(player.step(-1).hop, hop);
    });
  }
}

test("without a window, nothing is skipped and every message is whole", async () => {
  const input = experiment({ sequences: [{ new: 20, cached: 9 }] });
  const cluster = await Cluster.start(await testPlatform(), { ranks: 3, backend: "cpu" });
  const { report } = await cluster.attend({ ...input, variant: "pass-q" }).finally(() => cluster.dispose());
  const motion = motionOf(report, wholeBytesOf(report, maskOf(input.sequences, 3, "pass-q")));
  assert.ok([...motion.journeys.flat(), ...motion.parcels].every(({ part }) => part === 1));
  assert.ok(motion.moments.every(({ skipped }) => skipped === undefined));
  assert.equal(saySkipped(report), undefined);
});

test("the areas of a block are as large as its pairs, up to half a step of their edges", () => {
  for (
    const said of ["causal", "full", "window:1", "window:5", "window:40", "chunk:3", "chunk:8", "chunk:20", "chunk:1"]
  ) {
    const mask = readMask(said)!;
    for (const [T, P, N] of [[64, 0, 4], [33, 70, 3], [5, 90, 8]]) {
      const { blocks, queries, keys } = maskOf([{ new: T, cached: P }], N, "pass-kv", mask);
      for (const { query, key, pairs, full } of blocks.filter((one) => one.pairs > 0)) {
        const [q, k] = [queries[query], keys[key]];
        const [rows, columns] = [q.end - q.start, k.end - k.start];
        const areas = areasOf(mask, q, k);
        const size = areas.reduce((sum, area) => sum + sizeOf(area), 0) * rows * columns;
        assert.ok(Math.abs(size - pairs) <= rows, `${said}, ${rows} x ${columns}: ${size} for ${pairs} pairs`);
        if (full && mask.kind !== "chunk") assert.ok(size >= pairs - rows);
        assert.ok(areas.flat().every((corner) => corner.every((share) => share >= 0 && share <= 1 + 1e-12)));
        assert.ok(middleOf(areas[0]).every((share) => share > 0 && share < 1));
      }
    }
  }
  const sinks = areasOf({ kind: "window", size: 2, sinkTokens: 4 }, { start: 40, end: 48 }, { start: 0, end: 8 });
  assert.deepEqual(sinks.map(sizeOf), [0.5]);
});

test("what a query sees, in words", () => {
  const says = (text: string) => saySeen(readMask(text)!);
  assert.equal(says("window:256"), "A query at position p sees p−255 to p");
  assert.equal(says("window:1+4"), "A query at position p sees itself alone, and up to p the positions 0 to 3");
  assert.equal(
    says("chunk:64+1"),
    "A query at position p sees 64 ⌊p / 64⌋ to p, and position 0",
  );
  assert.equal(says("causal"), "A query at position p sees 0 to p");
});

test("chunks go clockwise along the orbit, parcels straight across", () => {
  const close = (a: { x: number; y: number }, b: { x: number; y: number }) =>
    assert.ok(Math.hypot(a.x - b.x, a.y - b.y) < 1e-9);
  const { orbit } = sizes(4);
  const chunk = { kind: "chunk", owner: 0, from: 3, to: 0, part: 1 } as const;
  close(pointOf({ ...chunk, share: 0 }, 4), onRing(3, 4, orbit));
  close(pointOf({ ...chunk, share: 1 }, 4), onRing(0, 4, orbit));
  close(pointOf({ ...chunk, share: 0.5 }, 4), onRing(3.5, 4, orbit));
  close(pointOf({ kind: "parcel", owner: 2, from: 0, to: 2, share: 0.5, part: 1 }, 4), { x: 200, y: 200 });
  for (const N of [1, 2, 3, 8, 10, 11, 16, 24, 32]) {
    const { ring, orbit: inner, rank, chunk: side } = sizes(N);
    assert.ok(ring + rank < 200 && inner + side / 2 < ring - rank && inner > 0);
    if (N > 1) assert.ok(2 * ring * Math.sin(Math.PI / N) > 2 * rank, `${N} ranks do not overlap`);
    if (N > 1) assert.ok(2 * inner * Math.sin(Math.PI / N) > side, `${N} chunks do not overlap`);
    // The widest bold digits of common fonts are 0.7 of their size.
    const half = Math.max(4, rank - 5);
    for (const width of [half, 2 * half, side]) {
      assert.ok(numberSize(width, N, 13) * 0.7 * String(N - 1).length < width, `numbers of ${N} ranks fit ${width}`);
    }
    assert.ok(numberSize(half, N, 13) > 0 || N > 16, `${N} ranks: both numbers are drawn`);
    assert.ok(numberSize(2 * half, N, 13) > 0, `${N} ranks: a rank's own number is drawn`);
  }
});
