/**
 * Ranks in real workers: exact, overlapped over a slow link, cancelled, failing within a bounded time, and gone when
 * disposed.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { ClusterOptions } from "../../../engine/cluster/types.ts";
import { InputError, RankError } from "../../../engine/errors.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { patience } from "../../patience.ts";
import { testPlatform } from "../../platform.ts";

const platform = await testPlatform();

async function using<T>(options: ClusterOptions, use: (cluster: Cluster) => Promise<T>): Promise<T> {
  const cluster = await Cluster.start(platform, options);
  try {
    return await use(cluster);
  } finally {
    await cluster.dispose();
  }
}

const small = experiment({
  sequences: [{ new: 113, cached: 40 }, { new: 7, cached: 0 }],
  heads: 8,
  kvHeads: 2,
  headDim: 16,
});

test("four ranks, both variants, 16-bit wire: exact, with traffic counted to the byte", async () => {
  await using({ ranks: 4 }, async (cluster) => {
    for (
      const [variant, wireDtype, e] of [["pass-kv", "f32", 4], ["pass-q", "f32", 4], ["pass-kv", "bf16", 2]] as const
    ) {
      const input = { ...small, variant, wireDtype };
      const { out, lse, report } = await cluster.attend(input);
      const { passed, ...off } = check(input, { out, lse });
      assert.ok(passed, `${variant} ${wireDtype}: ${JSON.stringify(off)}`);
      // L_i = max over ranks: 29 and 2 new rows; 10 cached.
      const chunk = variant === "pass-kv" ? 2 * (29 + 10 + 2) * 2 * 16 * e : (29 + 2) * 8 * 16 * e;
      const parcel = (29 + 2) * 8 * (16 + 1) * 4;
      for (const rank of report.perRank) {
        assert.deepEqual(rank.ring, { messages: 3, bytes: 3 * chunk });
        assert.deepEqual(
          rank.all2all,
          variant === "pass-q" ? { messages: 3, bytes: 3 * parcel } : { messages: 0, bytes: 0 },
        );
        assert.equal(rank.bytesReceived, rank.bytesSent);
      }
      const attended = report.spans.filter((s) => s.kind === "attend");
      assert.equal(attended.length, 16);
      assert.ok(attended.every((s) => s.duration > 0 && s.start >= 0));
    }
  });
});

test("over a slow link the transfer of the next hop runs while this hop attends", async () => {
  const input = experiment({ sequences: [{ new: 512, cached: 0 }], heads: 8, kvHeads: 1, headDim: 32 });
  await using({ ranks: 4, backend: "cpu", link: { bandwidth: 2e6, latency: 0.005 } }, async (cluster) => {
    const { report } = await cluster.attend(input);
    const chunk = 2 * 128 * 32 * 4;
    for (const span of report.spans.filter((s) => s.lane === "send")) {
      assert.ok(span.duration >= chunk / 2e6 + 0.005 - 1e-6, `a message took ${span.duration} s`);
    }
    const attends = report.spans.filter((s) => s.kind === "attend" && s.hop === 0);
    for (const attend of attends) {
      const send = report.spans.find((s) => s.kind === "send" && s.rank === attend.rank && s.hop === 0)!;
      const overlap = Math.min(attend.start + attend.duration, send.start + send.duration) -
        Math.max(attend.start, send.start);
      assert.ok(
        overlap > 0,
        `rank ${attend.rank}: attention ${attend.start} + ${attend.duration}, transfer ${send.start} + ${send.duration}`,
      );
    }
  });
});

test("a cancelled experiment stops, and the cluster goes on", async () => {
  await using({ ranks: 2, backend: "cpu", link: { bandwidth: 1e4, latency: 0 } }, async (cluster) => {
    const controller = new AbortController();
    const start = performance.now();
    setTimeout(() => controller.abort(), 200);
    await assert.rejects(cluster.attend({ ...small, signal: controller.signal }), { name: "AbortError" });
    assert.ok(performance.now() - start < patience(2000));
  });
  await using({ ranks: 2, backend: "cpu" }, async (cluster) => {
    const controller = new AbortController();
    const attending = cluster.attend({ ...small, signal: controller.signal });
    controller.abort();
    await assert.rejects(attending, { name: "AbortError" });
    assert.ok(check(small, await cluster.attend(small)).passed);
  });
});

test("progress ends at N x N hops", async () => {
  await using({ ranks: 3, backend: "cpu" }, async (cluster) => {
    const told: number[] = [];
    await cluster.attend({ ...small, onProgress: (done, total) => told.push(done / total) });
    assert.equal(told.at(-1), 1);
  });
});

for (const kind of ["exit", "drop", "lose-device"] as const) {
  test(`fault ${kind}: the error names the rank, the hop and what was awaited, in bounded time`, async () => {
    await using({
      ranks: 3,
      backend: kind === "lose-device" ? "webgpu" : "cpu",
      timeout: 3,
      fault: { rank: 1, hop: 1, kind },
    }, async (cluster) => {
      const start = performance.now();
      await assert.rejects(cluster.attend(small), (error) => {
        assert.ok(error instanceof RankError, String(error));
        assert.equal(error.hop, 1);
        assert.equal(error.rank, kind === "drop" ? 2 : 1);
        assert.match(error.message, /awaited/);
        if (kind === "lose-device") assert.match(error.message, /its GPU device was lost/);
        return true;
      });
      // A device takes time to compile before the fault strikes.
      const most = kind === "lose-device" ? 30_000 : 1000 * cluster.ranks.timeout.used + patience(1500);
      assert.ok(performance.now() - start < most, `took ${performance.now() - start} ms of ${most}`);
      if (kind !== "drop") await assert.rejects(cluster.attend(small), RankError, "a broken cluster must say so again");
    });
  });
}

test("bad input is refused before anything starts, and the cluster goes on", async () => {
  await assert.rejects(Cluster.start(platform, { ranks: 0 }), InputError);
  await assert.rejects(
    Cluster.start(platform, { ranks: 2, link: { bandwidth: 0, latency: 0 } }),
    /link: found 0 bytes/,
  );
  await using({ ranks: 1, backend: "cpu" }, async (cluster) => {
    await assert.rejects(cluster.attend({ ...small, headDim: 18 }), /D = 18/);
    await assert.rejects(cluster.attend({ ...small, kvHeads: 3 }), /multiple of Hkv/);
    await assert.rejects(cluster.attend({ ...small, q: small.q.with(5, NaN) }), /q: found NaN at element 5/);
    await assert.rejects(cluster.attend({ ...small, k: small.k.subarray(1) }), /k: found .* elements, expected/);
    await assert.rejects(
      cluster.attend({ ...small, k: small.k.with(0, 1e5), wireDtype: "f16" }),
      /f16 on the wire cannot hold/,
    );
    await assert.rejects(
      cluster.attend({ ...small, q: small.q.with(0, 1e30), k: small.k.with(0, 1e30) }),
      /overflow f32/,
    );
    assert.ok(check(small, await cluster.attend(small)).passed);
  });
});

test("a disposed cluster refuses work at once", async () => {
  const cluster = await Cluster.start(platform, { ranks: 2, backend: "cpu" });
  const running = cluster.attend(small);
  const failed = assert.rejects(running, /disposed/);
  await cluster.dispose();
  await failed;
  await assert.rejects(cluster.attend(small), /disposed/);
});
