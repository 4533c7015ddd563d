/** The simulated ring against closed forms and against a real ring on the link model, and its spans. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { type RingWork, simulateRing } from "../../../engine/plan/simulate.ts";
import type { Span } from "../../../engine/trace/span.ts";
import { experiment } from "../../experiment.ts";
import { testPlatform } from "../../platform.ts";

/** A ring of equal ranks: attention takes `a`, and a transfer `latency` plus its bytes over `rate`. */
function even(
  more: Partial<Omit<RingWork, "message" | "parcel" | "merge">> & {
    readonly a?: number;
    readonly rate?: number;
    readonly latency?: number;
    readonly message?: number;
    readonly parcel?: number;
    readonly merge?: number;
  } = {},
): RingWork {
  const { a = 1, rate = 1, latency = 0, message = 0, parcel = 0, merge = 0, ...rest } = more;
  return {
    ranks: 4,
    variant: "pass-kv",
    attend: () => a,
    message: () => message,
    parcel: () => parcel,
    wire: () => ({ rate, latency }),
    exchange: () => 0,
    merge: () => merge,
    hopOverhead: 0,
    overlap: true,
    start: () => 0,
    ...rest,
  };
}

async function end(work: RingWork): Promise<number> {
  return Math.max(...(await simulateRing(work)).map((r) => r.end));
}

function near(found: number, expected: number): void {
  assert.ok(
    Math.abs(found - expected) <= 1e-9 * Math.max(1, Math.abs(expected)),
    `found ${found}, expected ${expected}`,
  );
}

const RANKS = fc.integer({ min: 1, max: 9 });
const TIME = fc.double({ min: 0.01, max: 10, noNaN: true });

test("no latency and no bytes: N a", async () => {
  await fc.assert(fc.asyncProperty(RANKS, TIME, async (ranks, a) => near(await end(even({ ranks, a })), ranks * a)));
});

test("full overlap: a transfer shorter than attention costs nothing", async () => {
  await fc.assert(
    fc.asyncProperty(
      RANKS,
      TIME,
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (ranks, a, part) => near(await end(even({ ranks, a, message: part * a })), ranks * a),
    ),
  );
});

test("partial overlap: a + (N-1) max(a, latency + bytes / rate) + N overheads", async () => {
  await fc.assert(fc.asyncProperty(RANKS, TIME, TIME, TIME, TIME, async (ranks, a, bytes, latency, hopOverhead) => {
    const overheads = ranks === 1 ? 0 : ranks * hopOverhead;
    const [first] = await simulateRing(even({ ranks, a, message: bytes, rate: 2, latency, hopOverhead }));
    near(first.end, a + (ranks - 1) * Math.max(a, latency + bytes / 2) + overheads);
    near(first.wait, (ranks - 1) * Math.max(0, latency + bytes / 2 - a));
    near(first.launch, overheads);
  }));
});

test("no overlap: N a + (N-1) (latency + bytes / rate)", async () => {
  await fc.assert(
    fc.asyncProperty(RANKS, TIME, TIME, TIME, async (ranks, a, bytes, latency) =>
      near(
        await end(even({ ranks, a, message: bytes, latency, overlap: false })),
        ranks * a + (ranks - 1) * (latency + bytes),
      )),
  );
});

test("pass-Q: the ring, then the exchange, then the merge", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 9 }), TIME, TIME, TIME, async (ranks, a, exchange, merge) => {
      const [first] = await simulateRing(even({
        ranks,
        a,
        variant: "pass-q",
        message: a / 2,
        exchange: () => exchange,
        merge,
      }));
      near(first.end, ranks * a + exchange + merge);
      near(first.all2all, exchange);
      near(first.merge, merge);
    }),
  );
});

test("a straggler: the ring ends after its N attentions; in pass-Q everyone waits for its parcels", async () => {
  const work = { ranks: 5, a: 1, slowdown: (rank: number) => (rank === 2 ? 3 : 1) };
  near(await end(even(work)), 15);
  const times = await simulateRing(even({ ...work, variant: "pass-q" }));
  for (const t of times) near(t.end, 15);
  near(times[0].attend, 5);
  near(times[0].all2all + times[0].wait, 10);
});

test("uneven starts: a late rank delays the ring by at most its lateness", async () => {
  const late = await end(even({ ranks: 4, a: 1, start: (rank) => (rank === 1 ? 0.5 : 0) }));
  near(late, 4.5);
});

test("one slow wire: everyone waits for it in the end", async () => {
  const wire = (from: number) => ({ rate: from === 0 ? 1 : 100, latency: 0 });
  const slow = await end(even({ ranks: 4, a: 1, message: 3, wire }));
  assert.ok(slow > 4 && slow <= 1 + 3 * 3 + 1e-9, `found ${slow}`);
});

test("the parts of a rank's time sum to the whole, with any disturbance", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 7 }),
      fc.constantFrom("pass-kv" as const, "pass-q" as const),
      fc.boolean(),
      fc.integer(),
      async (ranks, variant, overlap, seed) => {
        const noise = (rank: number, hop: number) => 1 + ((seed ^ (rank * 31 + hop * 17)) & 7) / 10;
        const times = await simulateRing(even({
          ranks,
          variant,
          overlap,
          message: 1.2,
          latency: 0.1,
          exchange: (k) => 0.3 * k,
          merge: 0.2,
          hopOverhead: 0.05,
          start: (k) => k * 0.01,
          jitter: noise,
          attend: (q, k) => 1 + 0.1 * ((q + k) % 3),
        }));
        for (const t of times) near(t.attend + t.merge + t.wait + t.all2all + t.launch, t.end - t.start);
      },
    ),
  );
});

test("one rank for all gives every rank's time if all are alike", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    for (const overlap of [true, false]) {
      const work = even({
        ranks: 6,
        variant,
        overlap,
        message: 1.5,
        latency: 0.2,
        exchange: () => 0.7,
        merge: 0.1,
        hopOverhead: 0.3,
        start: () => 2,
      });
      const all = await simulateRing(work);
      const [one] = await simulateRing({ ...work, oneForAll: true });
      for (const t of all) assert.deepEqual({ ...t, rank: 0 }, one);
    }
  }
});

test("every pair of ranks is attended once, whichever operand travels", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const seen = new Map<string, number>();
    await simulateRing(
      even({ ranks: 5, variant, attend: (q, k) => (seen.set(`${q} ${k}`, (seen.get(`${q} ${k}`) ?? 0) + 1), 1) }),
    );
    assert.equal(seen.size, 25);
    assert.ok([...seen.values()].every((n) => n === 1));
  }
});

test("spans: each rank has N attends, N-1 transfers beside them, and device spans that do not overlap", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const spans: Span[] = [];
    const times = await simulateRing(
      even({
        variant,
        message: 2,
        latency: 0.5,
        exchange: () => 1,
        merge: 0.5,
        hopOverhead: 0.25,
        flops: (q, k) => 10 * q + k,
        parcel: 3,
        onSpan: (s) => spans.push(s),
      }),
    );
    for (const { rank, end } of times) {
      const of = (kind: string) => spans.filter((s) => s.rank === rank && s.kind === kind);
      assert.equal(of("attend").length, 4);
      assert.equal(of("send").length, 3);
      assert.equal(of("receive").length, 3);
      assert.equal(of("all2all").length, variant === "pass-q" ? 1 : 0);
      assert.deepEqual(of("attend").map((s) => s.peer), [0, 1, 2, 3].map((j) => (rank - j + 4) % 4));
      const device = spans.filter((s) => s.rank === rank && s.lane === "device").sort((a, b) => a.start - b.start);
      device.forEach((s, i) => near(s.start, i === 0 ? 0 : device[i - 1].start + device[i - 1].duration));
      near(device[device.length - 1].start + device[device.length - 1].duration, end);
    }
  }
});

test("slower attention, transfers, exchanges or starts never make the ring faster", async () => {
  const part = fc.record({ a: TIME, message: TIME, latency: TIME, exchange: TIME, hopOverhead: TIME });
  await fc.assert(
    fc.asyncProperty(
      part,
      fc.constantFrom("a", "message", "latency", "exchange", "hopOverhead"),
      fc.double({ min: 1, max: 3, noNaN: true }),
      fc.constantFrom("pass-kv" as const, "pass-q" as const),
      async (p, name, factor, variant) => {
        const time = (x: typeof p) => end(even({ ...x, variant, exchange: () => x.exchange }));
        const worse = { ...p, [name]: p[name as keyof typeof p] * factor };
        assert.ok((await time(worse)) >= (await time(p)) - 1e-12);
      },
    ),
  );
});

test("a real ring over a slow link exposes the simulated time, within 25 % and 30 ms", async () => {
  const [bandwidth, latency, N] = [2e5, 0.02, 3];
  const input = experiment({ sequences: [{ new: 192, cached: 96 }], heads: 2, kvHeads: 2, headDim: 32 });
  const cluster = await Cluster.start(await testPlatform(), { ranks: N, backend: "cpu", link: { bandwidth, latency } });
  try {
    await cluster.attend(input); // the first run loads code
    const { report } = await cluster.attend(input);
    const attends = new Map(
      report.spans.filter((s) => s.kind === "attend").map((s) => [`${s.rank} ${s.peer ?? s.rank}`, s.duration]),
    );
    const message = report.perRank[0].ring.bytes / (N - 1);
    const times = await simulateRing(
      even({ ranks: N, attend: (q, k) => attends.get(`${q} ${k}`) ?? 0, message, rate: bandwidth, latency }),
    );
    const predicted = Math.max(...times.map((t) => t.wait));
    const measured = report.times.exchange;
    assert.ok(predicted > 0.1, `predicted ${predicted} s of exposed communication, expected enough to measure`);
    assert.ok(
      Math.abs(measured - predicted) <= 0.25 * predicted + 0.03,
      `measured ${measured} s, predicted ${predicted} s`,
    );
  } finally {
    await cluster.dispose();
  }
});
