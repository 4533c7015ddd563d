// The figures of Learn: every model against float64 and against the engine's own functions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chunks, headTail, shard } from "../../../engine/layout/shards.ts";
import { exposure, hiddenKv } from "../../../engine/policy/index.ts";
import { findCluster, findModel, plan } from "../../../engine/plan/index.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { blocks } from "../../../web/views/learn/models/blocks.ts";
import { rooms } from "../../../web/views/learn/models/capacity.ts";
import { settingOf, simulated, versus } from "../../../web/views/learn/models/cluster.ts";
import { conversation } from "../../../web/views/learn/models/conversation.ts";
import { COUNTS, merging, storing, TOKENS } from "../../../web/views/learn/models/merge.ts";
import { ringRun } from "../../../web/views/learn/models/ring.ts";
import { sharding } from "../../../web/views/learn/models/shards.ts";
import { D, small } from "../../../web/views/learn/models/small.ts";
import { runningSoftmax } from "../../../web/views/learn/models/softmax.ts";

const near = (found: number, expected: number, within = 3e-6) =>
  assert.ok(Math.abs(found - expected) <= within, `found ${found}, expected ${expected}`);

test("the running softmax equals float64 after every key, whatever the shift", () => {
  for (const shift of [-1000, 0, 1000]) {
    const { reads, exact } = runningSoftmax(3, 8, shift);
    reads.forEach(({ lse, out }, i) => {
      const whole = small(3, [{ new: 1, cached: 7 }]);
      const prefix = reference({
        ...whole,
        k: whole.k.subarray(0, (i + 1) * D),
        v: whole.v.subarray(0, (i + 1) * D),
        sequences: [{ new: 1, cached: i }],
      });
      near(lse, prefix.lse[0] + shift, 1e-9);
      near(out, prefix.out[0], 1e-9);
    });
    near(reads[7].out, exact.out, 1e-9);
    assert.equal(reads[0].rescale, 0, "nothing to rescale before the first key");
  }
});

test("without a maximum, f32 overflows and underflows, and is right in between", () => {
  assert.ok(Number.isNaN(runningSoftmax(1, 8, 1000).naive.out));
  assert.ok(Number.isNaN(runningSoftmax(1, 8, -1000).naive.out));
  const { naive, exact } = runningSoftmax(1, 8, 0);
  near(naive.out, exact.out);
});

test("a row block by block ends at float64; tiles count every pair once", async () => {
  for (const [tokens, size, row] of [[32, 8, 17], [24, 4, 0], [48, 16, 47]]) {
    const { reads, exact, tiles, pairs, computed } = await blocks(2, tokens, size, row);
    near(reads.at(-1)!.out, exact.out);
    near(reads.at(-1)!.lse, exact.lse);
    assert.equal(reads.reduce((sum, { seen }) => sum + seen, 0), row + 1);
    assert.equal(pairs, (tokens * (tokens + 1)) / 2);
    assert.ok(tiles.every(({ row: r, column: c, kind }) => kind === (c > r ? "skipped" : c < r ? "full" : "cut")));
    assert.ok(computed >= pairs && computed < tokens * tokens);
  }
});

test("parts merge to float64 in either order; empty parts weigh nothing", async () => {
  for (const [count, row] of [[2, 40], [4, 5], [6, 0], [8, 47]]) {
    for (const backwards of [false, true]) {
      const { parts, out, lse, exact, unguarded } = await merging(4, count, row, backwards);
      near(out, exact.out);
      near(lse, exact.lse);
      near(parts.reduce((sum, { weight }) => sum + weight, 0), 1);
      assert.equal(parts.at(-1)!.to, TOKENS);
      for (const part of parts) assert.equal(part.lse === -Infinity, part.seen === 0);
      const empty = parts.filter(({ seen }) => seen === 0).length;
      assert.equal(
        Number.isNaN(unguarded),
        backwards && empty >= 2,
        "the bare formula fails if both the result so far and the next part are empty",
      );
    }
  }
});

test("16-bit partial results: the error of O stays with more parts, the error of a kept LSE grows", async () => {
  const [exact, sentO, , sentLse, keptLse] = (await storing(1)).map(({ rms }) => rms);
  COUNTS.forEach((_, i) => {
    assert.ok(
      exact[i] < 1e-6 && sentO[i] > 100 * exact[i] && sentLse[i] > sentO[i],
      JSON.stringify([exact, sentO, sentLse]),
    );
    if (i > 1) assert.ok(keptLse[i] > 1.3 * keptLse[i - 1]);
  });
  assert.ok(sentO[3] < 1.3 * sentO[0] && keptLse[3] > 2 * sentO[3]);
  const { spacing, lse } = await merging(1, 4, 40, false);
  assert.equal(spacing.here, 2 ** (Math.floor(Math.log2(lse)) - 7));
  assert.equal(spacing.long, 2 ** -4);
});

test("both shardings compute every pair once; head-tail balances them", () => {
  for (const [ranks, fresh, cached, second] of [[4, 64, 0, 0], [3, 50, 20, 7], [8, 128, 128, 5]]) {
    const s = sharding(ranks, fresh, cached, second);
    const all = fresh * cached + (fresh * (fresh + 1)) / 2;
    for (const layout of [s.headTail, s.contiguous]) {
      assert.equal(layout.pairs.reduce((a, b) => a + b), all);
      assert.equal(layout.ranges.flat().reduce((sum, { start, end }) => sum + end - start, 0), fresh);
    }
    s.headTail.ranges.forEach((ranges, k) => assert.deepEqual(ranges, headTail(fresh, ranks, k, cached)));
    assert.deepEqual(s.chunks, chunks(fresh, ranks, cached));
    assert.ok(s.headTail.imbalance < s.contiguous.imbalance);
    assert.equal(
      s.message.rows,
      shard(second ? [{ new: fresh, cached }, { new: second, cached: 0 }] : [{ new: fresh, cached }], ranks).keys[0]
        .rows,
    );
  }
  const even = sharding(4, 64, 0, 0).headTail;
  assert.equal(even.imbalance, 1, "chunks of equal length balance exactly");
});

for (const variant of ["pass-kv", "pass-q"] as const) {
  test(`a watched ring, ${variant}: every rank meets every visitor in the paper's order, and the result is float64's`, async () => {
    for (const ranks of [2, 3, 5]) {
      const { meetings, out, last } = await ringRun(1, ranks, 20, 12, variant);
      assert.ok(out.within, `largest error ${out.max}`);
      assert.equal(meetings.length, ranks * ranks);
      for (const { rank, hop, owner } of meetings) assert.equal(owner, (rank - hop + ranks) % ranks);
      assert.equal(meetings.reduce((sum, { pairs }) => sum + pairs, 0), 20 * 12 + 210);
      if (variant === "pass-kv") {
        for (const { rank, lse, out: first } of meetings.filter(({ hop }) => hop === ranks - 1)) {
          (near(lse, last[rank].lse), near(first, last[rank].out));
        }
      }
    }
  });
}

test("the simulated ring waits exactly as long as `exposure` says, and from Eq. 2 on pass-KV does not wait", async () => {
  for (const [fresh, cached] of [[1000, 126_000], [4000, 124_000], [32_000, 96_000]]) {
    const { setting, kv, q } = await versus("gtt", 4, fresh, cached);
    const e = exposure(setting);
    near(kv.ranks[0].wait, e.exposedKv, 1e-12);
    near(q.ranks[0].wait + q.ranks[0].all2all, e.exposedQ, 1e-12);
  }
  const border = hiddenKv(settingOf("gtt", 4, 1, 0));
  assert.equal(border, 4000);
  near((await simulated(settingOf("gtt", 4, border, 100_000), "pass-kv")).ranks[0].wait, 0, 1e-12);
  assert.ok((await simulated(settingOf("gtt", 4, border - 40, 100_000), "pass-kv")).ranks[0].wait > 0);
});

test("a conversation: every step equals float64; caches stay within one token of each other, unless one rank owns replies", async () => {
  const steps = await conversation(1, 4, 2, 21, 9);
  assert.equal(steps.length, 20);
  for (const { held, error, mode, rows, owner, cached, fresh } of steps) {
    assert.ok(error < 2e-6, `error ${error}`);
    assert.ok(Math.max(...held) - Math.min(...held) <= 1);
    assert.equal(held.reduce((a, b) => a + b), cached + fresh);
    assert.equal(owner === undefined, mode === "prefill");
    assert.equal(rows % 4, 0);
  }
  const { fixed } = steps.at(-1)!;
  assert.ok(Math.max(...fixed) - Math.min(...fixed) >= 18);
});

test("room for KV and decode times equal the planner's", async () => {
  const all = await rooms();
  const [one, two] = [all[0], all[1]];
  const planned = await plan({
    model: findModel("llama3-405b"),
    cluster: findCluster("gtt"),
    tp: 8,
    cp: 2,
    decode: true,
    cached: 128_000,
    variant: "pass-q",
  });
  assert.deepEqual(two, { ranks: 2, tokens: planned.memory.kvCapacityTokens, ttit: planned.seconds });
  assert.ok(two.tokens > 1.9 * one.tokens && two.ttit > one.ttit);
});
