/**
 * Faults at any moment: nothing begins while a rank is dead, every wait ends in a named error, and results after a repair
 * are exact.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { Platform } from "../../../engine/platform.ts";
import type { ClusterOptions, SessionOptions, SessionRows } from "../../../engine/cluster/types.ts";
import { InputError, RankError } from "../../../engine/errors.ts";
import { check } from "../../../engine/reference/check.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import { experiment } from "../../experiment.ts";
import { patience } from "../../patience.ts";
import { testPlatform } from "../../platform.ts";
import { nodeFirst } from "../../tiers.ts";

const platform = await testPlatform();
const HEADS: SessionOptions = { heads: 4, kvHeads: 2, headDim: 16 };
const long: FixedInput = experiment({ ...HEADS, variant: undefined, sequences: [{ new: 200, cached: 0 }] });
const small = experiment({ sequences: [{ new: 50, cached: 13 }], heads: 4, kvHeads: 2 });

const rows = (from: number, n: number): SessionRows => {
  const part = (x: Float32Array, width: number) => x.subarray(from * width, (from + n) * width);
  return { sequence: 0, q: part(long.q, 64), k: part(long.k, 32), v: part(long.v, 32) };
};

/** The step's rows against float64. */
function exact(
  from: number,
  n: number,
  { outputs: [{ out, lse }] }: { outputs: readonly { out: Float32Array; lse: Float32Array }[] },
): void {
  const { q } = rows(from, n);
  const input = {
    ...HEADS,
    q,
    k: long.k.subarray(0, (from + n) * 32),
    v: long.v.subarray(0, (from + n) * 32),
    sequences: [{ new: n, cached: from }],
  };
  assert.ok(check(input, { out, lse }).passed);
}

async function using<T>(
  options: ClusterOptions,
  use: (cluster: Cluster) => Promise<T>,
  on: Platform = platform,
): Promise<T> {
  const cluster = await Cluster.start(on, options);
  try {
    return await use(cluster);
  } finally {
    await cluster.dispose();
  }
}

const strike = (cluster: Cluster, rank: number, kind: "exit" | "lose-device") =>
  void cluster.ranks.service(rank).strike(kind).catch(() => {});

/** Resolves once the cluster knows that a rank has failed. */
async function broken(cluster: Cluster): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const error = await cluster.attend(small).then(() => undefined, (e) => e);
    if (error instanceof RankError) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail("a fault that is not noticed");
}

for (const backend of ["cpu", "webgpu"] as const) {
  for (const ranks of backend === "cpu" ? [1, 2, 4, 8] : [1, 2]) {
    const few = ranks === (backend === "cpu" ? 2 : 1) ? {} : nodeFirst;
    test(
      `${backend}, ${ranks} ranks: during a repair nothing else begins; afterwards steps are exact`,
      few,
      async () => {
        await using({ ranks, backend }, async (cluster) => {
          const session = await cluster.session(HEADS);
          exact(0, 90, await session.prefill([rows(0, 90)]));
          const before = await session.snapshot();
          strike(cluster, ranks - 1, backend === "cpu" ? "exit" : "lose-device");
          await broken(cluster);
          const repairing = cluster.repair();
          // Until it has ended, every call is rejected, whenever it comes.
          let calls = 0;
          for (let over = false; !over; calls++) {
            await assert.rejects(
              session.prefill([rows(90, 20)]),
              (error) => error instanceof InputError || error instanceof RankError,
            );
            await assert.rejects(session.snapshot(), InputError);
            over = await Promise.race([
              repairing.then(() => true),
              new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 2)),
            ]);
          }
          assert.ok(calls > 0);
          assert.deepEqual(await repairing, [ranks - 1]);
          assert.deepEqual(await session.snapshot(), before);
          exact(90, 20, await session.prefill([rows(90, 20)]));
          exact(110, 1, await session.decode([rows(110, 1)]));
          assert.ok(check(small, await cluster.attend(small)).passed);
        });
      },
    );

    test(
      `${backend}, ${ranks} ranks: a rank that dies between steps is named by whatever waits for it, and repaired`,
      few,
      async () => {
        await using({ ranks, backend, timeout: 2 }, async (cluster) => {
          const session = await cluster.session(HEADS);
          exact(0, 30, await session.prefill([rows(0, 30)]));
          const saved = await session.snapshot();
          const calls = [
            () => session.snapshot(),
            () => session.restore(saved),
            () => cluster.session(HEADS),
            () => session.prefill([rows(30, 5)]),
            () => session.decode([rows(30, 1)]),
          ];
          for (const [i, call] of calls.entries()) {
            strike(cluster, i % ranks, backend === "cpu" || i % 2 === 0 ? "exit" : "lose-device");
            // At once, so that the call may be under way when the rank ends.
            const start = performance.now();
            const first = await call().then(() => undefined, (error) => error);
            assert.ok(first === undefined || first instanceof RankError, String(first));
            if (first === undefined) await broken(cluster);
            await assert.rejects(call(), RankError);
            assert.ok(performance.now() - start < patience(4000), `took ${performance.now() - start} ms`);
            await cluster.repair();
            if (first !== undefined || i < 3) assert.deepEqual(await session.snapshot(), saved);
            else await session.restore(saved);
          }
          exact(30, 7, await session.prefill([rows(30, 7)]));
        });
      },
    );
  }
}

test("two repairs at once are one, and a rank that dies during a repair is repaired next", nodeFirst, async () => {
  await using({ ranks: 4, backend: "cpu" }, async (cluster) => {
    const session = await cluster.session(HEADS);
    await session.prefill([rows(0, 90)]);
    const before = await session.snapshot();
    for (const kill of [1, 2, 3]) {
      strike(cluster, 0, "exit");
      await broken(cluster);
      const both = [cluster.repair(), cluster.repair()];
      strike(cluster, kill, "exit");
      const ended = await Promise.allSettled(both);
      assert.deepEqual(ended[0], ended[1]);
      while (await session.snapshot().then(() => false, () => true)) {
        await cluster.repair().catch((error) => assert.ok(error instanceof RankError, String(error)));
      }
      assert.deepEqual(await session.snapshot(), before);
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (await session.snapshot().then(() => false, () => true)) await cluster.repair();
    }
    exact(90, 20, await session.prefill([rows(90, 20)]));
  });
});

test(
  "a repair that fails half-way leaves nothing out: the next one fills what it had replaced",
  nodeFirst,
  async () => {
    let struck: (() => void) | undefined;
    const watched: Platform = {
      ...platform,
      startWorker() {
        const worker = platform.startWorker();
        struck?.();
        struck = undefined;
        return worker;
      },
    };
    await using({ ranks: 4, backend: "cpu" }, async (cluster) => {
      const session = await cluster.session(HEADS);
      await session.prefill([rows(0, 90)]);
      const before = await session.snapshot();
      strike(cluster, 2, "exit");
      await broken(cluster);
      // Another rank dies as soon as the replacement starts, before it is connected or filled.
      struck = () => strike(cluster, 1, "exit");
      const first = await cluster.repair().then(() => undefined, (error) => error);
      // The cluster may notice a worker's end only after a repair that didn't need that worker.
      assert.ok(first === undefined || first instanceof RankError, String(first));
      await broken(cluster);
      await assert.rejects(session.snapshot(), RankError);
      assert.deepEqual(await cluster.repair(), first === undefined ? [1] : [1, 2]);
      assert.deepEqual(await session.snapshot(), before);
      exact(90, 20, await session.prefill([rows(90, 20)]));
    }, watched);
  },
);

test("if a replacement can't open, the next repair starts another", nodeFirst, async () => {
  let doomed = 0;
  const failing: Platform = {
    ...platform,
    startWorker() {
      const worker = platform.startWorker();
      if (doomed-- <= 0) return worker;
      // It ends as soon as it has sent something.
      return {
        ...worker,
        heard() {
          worker.heard?.();
          void worker.terminate();
        },
      };
    },
  };
  await using({ ranks: 3, backend: "cpu" }, async (cluster) => {
    const session = await cluster.session(HEADS);
    await session.prefill([rows(0, 50)]);
    const before = await session.snapshot();
    strike(cluster, 1, "exit");
    await broken(cluster);
    doomed = 1;
    const first = await cluster.repair().then(() => undefined, (error) => error);
    assert.ok(first === undefined || first instanceof RankError, String(first));
    await broken(cluster);
    await assert.rejects(session.snapshot(), RankError);
    assert.deepEqual(await cluster.repair(), [1]);
    assert.deepEqual(await session.snapshot(), before);
    exact(50, 20, await session.prefill([rows(50, 20)]));
  }, failing);
});

test("after a fault or a cancel on a slow link the next job finds the link free", nodeFirst, async () => {
  const link = { bandwidth: 3e4, latency: 0 };
  for (const variant of ["pass-kv", "pass-q"] as const) {
    await using({ ranks: 2, backend: "cpu", link, timeout: 1 }, async (cluster) => {
      const session = await cluster.session({ ...HEADS, variant });
      exact(0, 60, await session.prefill([rows(0, 60)]));
      await assert.rejects(session.prefill([rows(60, 60)], { fault: { rank: 1, hop: 0, kind: "exit" } }), RankError);
      await cluster.repair();
      const { report } = await session.prefill([rows(60, 60)], { variant });
      for (const { bytes, duration } of report.spans.filter((s) => s.lane === "send" && s.kind === "send")) {
        assert.ok(duration < 1.5 * bytes / link.bandwidth + 0.2, `a message of ${bytes} bytes took ${duration} s`);
      }
      const controller = new AbortController();
      const cancelled = session.prefill([rows(120, 40)], { signal: controller.signal });
      setTimeout(() => controller.abort(), 100);
      await assert.rejects(cancelled, { name: "AbortError" });
      exact(120, 40, await session.prefill([rows(120, 40)]));
    });
  }
});

test("a dropped chunk is found in bounded time, by asking its sender and its waiter, and nobody else is blamed", async () => {
  for (const [hop, variant] of [[0, "pass-kv"], [1, "pass-kv"], [0, "pass-q"], [2, "pass-q"]] as const) {
    await using({ ranks: 3, backend: "cpu", timeout: 1, fault: { rank: 1, hop, kind: "drop" } }, async (cluster) => {
      const start = performance.now();
      const all2all = variant === "pass-q" && hop === 2;
      await assert.rejects(cluster.attend({ ...small, variant }), (error) => {
        assert.ok(
          error instanceof RankError && error.hop === hop && (all2all ? error.rank !== 1 : error.rank === 2),
          String(error),
        );
        assert.match(
          error.message,
          /waited [0-9.]+ s, and rank 1 has not sent it .*awaited: (the chunk of hop \d|the All2All parcel) from rank 1/,
        );
        return true;
      });
      assert.ok(
        performance.now() - start < 1000 * cluster.ranks.timeout.used + patience(3000),
        `took ${performance.now() - start} ms`,
      );
    });
  }
});

test("a cancel while kernels compile ends the call at once and breaks nothing", nodeFirst, async () => {
  for (const ranks of [1, 3]) {
    await using({ ranks }, async (cluster) => {
      // D 128 takes the software adapters longest to compile.
      const input = experiment({ sequences: [{ new: 64, cached: 0 }], heads: 4, kvHeads: 1, headDim: 128 });
      const start = performance.now();
      await assert.rejects(
        cluster.attend({ ...input, signal: AbortSignal.timeout(40) }),
        (error) => (error as Error).name === "TimeoutError",
      );
      assert.ok(performance.now() - start < patience(3000), `took ${performance.now() - start} ms`);
      // The next one waits while the cancelled one still compiles. So does a repair, which finds no dead rank.
      assert.deepEqual(await cluster.repair(), []);
      assert.ok(check(input, await cluster.attend(input)).passed);
      await assert.rejects(
        cluster.attend({ ...small, signal: AbortSignal.timeout(20) }),
        (error) => (error as Error).name === "TimeoutError",
      );
    });
  }
});

test("disposed while kernels compile, a cluster ends, and so do its workers", nodeFirst, async () => {
  let left = 0;
  const counted: Platform = {
    ...platform,
    startWorker() {
      const worker = platform.startWorker();
      left++;
      return {
        ...worker,
        terminate: async () => {
          await worker.terminate();
          left--;
        },
      };
    },
  };
  const cluster = await Cluster.start(counted, { ranks: 2 });
  const failed = assert.rejects(
    cluster.attend(experiment({ sequences: [{ new: 64, cached: 0 }], heads: 4, kvHeads: 1, headDim: 96 })),
    { name: "AbortError" },
  );
  await new Promise((resolve) => setTimeout(resolve, 30));
  await Promise.all([cluster.dispose(), cluster.dispose()]);
  await failed;
  assert.equal(left, 0);
  const controller = new AbortController();
  const starting = Cluster.start(counted, { ranks: 2, signal: controller.signal });
  controller.abort();
  await assert.rejects(starting, { name: "AbortError" });
  assert.equal(left, 0);
  await assert.rejects(Cluster.start(counted, { ranks: 2, backend: "cpu", signal: AbortSignal.abort() }), {
    name: "AbortError",
  });
  assert.equal(left, 0);
});

test("cancels leave no buffer behind", nodeFirst, async () => {
  await using({ ranks: 2 }, async (cluster) => {
    const buffers = async () =>
      Math.max(...(await cluster.ranks.askAll((service) => service.held())).map((held) => held.buffers));
    for (let i = 0; i < 3; i++) assert.ok(check(small, await cluster.attend(small)).passed);
    const before = await buffers();
    let cancelled = 0;
    for (let i = 0; i < 60; i++) {
      // Lengths and moments differ, as a person's do.
      const input = experiment({ sequences: [{ new: 20 + 7 * i, cached: 3 * i }], heads: 4, kvHeads: 2 });
      const signal = AbortSignal.timeout(1 + (i % 12) * 3);
      await cluster.attend({ ...input, signal }).then(
        () => {},
        (error) => (assert.equal(error.name, "TimeoutError"), cancelled++),
      );
    }
    assert.ok(cancelled > 10, `${cancelled} cancels`);
    assert.ok(check(small, await cluster.attend(small)).passed);
    const after = await buffers();
    assert.ok(after <= before + 80, `${before} buffers a rank, then ${after}`);
  });
});

test("a session that is disposed during a step cancels it; the cluster and its other sessions go on", async () => {
  await using({ ranks: 2, backend: "cpu", link: { bandwidth: 1e5, latency: 0 } }, async (cluster) => {
    const [one, other] = [await cluster.session(HEADS), await cluster.session(HEADS)];
    const step = assert.rejects(one.prefill([rows(0, 90)]), { name: "AbortError", message: /session was disposed/ });
    await new Promise((resolve) => setTimeout(resolve, 30));
    await Promise.all([one.dispose(), one.dispose()]);
    await step;
    await assert.rejects(one.snapshot(), InputError);
    exact(0, 20, await other.prefill([rows(0, 20)]));
  });
});

test("ranks meet once they have compiled: no rank attends while another compiles, and the wait has its own kind", async () => {
  await using({ ranks: 3 }, async (cluster) => {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const { report } = await cluster.attend({ ...small, headDim: 16, variant });
      const of = (kind: string) => report.spans.filter((s) => s.kind === kind);
      const compiled = Math.max(0, ...of("compile").map((s) => s.start + s.duration));
      assert.ok(of("attend").every((s) => s.start >= compiled - 1e-3), "an attention before every rank had compiled");
      assert.equal(of("barrier").length, 3);
      assert.ok(report.times.exchange + report.times.late < report.times.total - compiled + 1e-3);
    }
  });
});

test(
  "healthy ranks are not blamed, however short the timeout and however long the thread is held up",
  nodeFirst,
  async () => {
    for (const ranks of [2, 4]) {
      await using({ ranks, backend: "cpu", timeout: 0.05 }, async (cluster) => {
        for (let i = 0; i < 3; i++) {
          const attending = cluster.attend({
            ...experiment({ sequences: [{ new: 300, cached: 0 }], heads: 8, kvHeads: 2 }),
            variant: i % 2 === 0 ? "pass-kv" : "pass-q",
          });
          await new Promise((resolve) => setTimeout(resolve, 20));
          for (const end = performance.now() + 400; performance.now() < end;);
          await attending;
        }
        assert.ok(cluster.ranks.timeout.asked === 0.05 && cluster.ranks.timeout.used >= 0.05);
      });
    }
  },
);
