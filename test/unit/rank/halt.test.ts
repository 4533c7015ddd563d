/**
 * Runs that halt equal runs that don't, bit for bit. Each halt reports the truth. While ranks wait for leave, a run is
 * cancelled and fails in bounded time.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import type { RankWorker } from "../../../engine/cluster/platform.ts";
import type { ClusterOptions, Halt, Made } from "../../../engine/cluster/types.ts";
import { InputError, RankError } from "../../../engine/errors.ts";
import { readMask } from "../../../engine/layout/mask.ts";
import { check } from "../../../engine/reference/check.ts";
import { DEALINGS, shard } from "../../../engine/layout/shards.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { difference } from "../../../engine/reference/error.ts";
import { fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { experiment } from "../../experiment.ts";
import { patience } from "../../patience.ts";
import { testPlatform } from "../../platform.ts";
import { nodeFirst } from "../../tiers.ts";
import { oneDevice } from "../../one-device.ts";

const platform = await testPlatform();
const shared = await oneDevice();
const VARIANTS = ["pass-kv", "pass-q"] as const;

async function using<T>(
  options: ClusterOptions,
  use: (cluster: Cluster, workers: readonly RankWorker[]) => Promise<T>,
): Promise<T> {
  const workers: RankWorker[] = [];
  const on = options.backend === "webgpu" ? shared : platform;
  const watched = { ...on, startWorker: () => workers[workers.push(on.startWorker()) - 1] };
  const cluster = await Cluster.start(watched, options);
  try {
    return await use(cluster, workers);
  } finally {
    await cluster.dispose();
  }
}

const same = (a: Float32Array, b: Float32Array) =>
  assert.deepEqual(
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  );

/** Waits until `ready`, for at most a minute. */
async function until(ready: () => boolean, what: string): Promise<void> {
  for (const start = performance.now(); !ready();) {
    assert.ok(performance.now() - start < 60_000, `waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A run that goes on at once from each halt: its result, each rank's halts in order, and their partials. */
async function stepped(
  cluster: Cluster,
  input: FixedInput,
): Promise<{ out: Float32Array; lse: Float32Array; halts: Halt[][]; made: (Made & { rank: number })[] }> {
  const halts: Halt[][] = Array.from({ length: cluster.size }, () => []);
  const made: (Made & { rank: number })[] = [];
  const { out, lse } = await cluster.attend({
    ...input,
    onHalt(halt) {
      const own = halts[halt.rank];
      if (own.at(-1)?.next === halt.next && own.at(-1)?.hop === halt.hop) own[own.length - 1] = halt;
      else {
        own.push(halt);
        if (halt.made !== undefined) made.push({ rank: halt.rank, ...halt.made });
      }
      halt.leave();
    },
  });
  return { out, lse, halts, made };
}

/** The expected partial of a rank in float64: from operands as the wire rounded them, over the keys seen so far. */
function exactPartial(input: FixedInput, ranks: number, made: Made): ReturnType<typeof reference> {
  const { variant = "pass-kv", wireDtype = "f32" } = input;
  const sent = (x: Float32Array) => fromBytes(toBytes(x, wireDtype), wireDtype);
  const rounded = variant === "pass-q"
    ? { ...input, q: sent(input.q) }
    : { ...input, k: sent(input.k), v: sent(input.v) };
  const { keys } = shard(input.sequences, ranks, input.dealing);
  const home = made.queries.owner;
  const hops = Array.from({ length: made.hop + 1 }, (_, j) => (home - j + ranks) % ranks);
  const seen = made.kind === "merge"
    ? keys
    : variant === "pass-q"
    ? [keys[made.keys!.owner]]
    : hops.map((s) => keys[s]);
  return reference(rounded, made.rows, seen.flatMap((block) => block.runs));
}

const batches = [
  { sequences: [{ new: 37, cached: 11 }, { new: 5, cached: 0 }], heads: 8, kvHeads: 2, headDim: 16 },
  { sequences: [{ new: 1, cached: 19 }], heads: 4, kvHeads: 1, headDim: 20 },
  { sequences: [{ new: 70, cached: 0 }], heads: 4, kvHeads: 4, headDim: 16, causal: false },
] as const;

for (const [backend, sizes] of [["cpu", [1, 2, 3, 4, 8]], ["webgpu", [1, 2, 3, 4, 8]]] as const) {
  for (const ranks of sizes) {
    const few = ranks === 3 ? {} : nodeFirst;
    test(
      `${backend}, ${ranks} ranks: halted runs give the same bits, and their partials are float64's over the keys seen so far`,
      few,
      async () => {
        await using({ ranks, backend }, async (cluster) => {
          for (const [i, batch] of batches.entries()) {
            for (const [v, variant] of VARIANTS.entries()) {
              const wireDtype = (["f32", "bf16", "f16"] as const)[(i + v) % 3];
              const input = { ...experiment({ ...batch, seed: i + 1 }), variant, wireDtype };
              const plain = await cluster.attend(input);
              const { out, lse, halts, made } = await stepped(cluster, input);
              same(out, plain.out);
              same(lse, plain.lse);
              const ends = variant === "pass-kv" || ranks === 1 ? ["end"] : ["all2all", "merge", "end"];
              for (const own of halts) {
                assert.deepEqual(own.map(({ next }) => next), [
                  ...Array.from({ length: ranks }, () => "attend"),
                  ...ends,
                ]);
                assert.deepEqual(own.slice(0, ranks).map(({ hop }) => hop), Array.from({ length: ranks }, (_, j) => j));
              }
              let compared = 0;
              for (const one of made) {
                const exact = exactPartial(input, ranks, one);
                const what = `${variant} ${wireDtype} rank ${one.rank} ${one.kind} hop ${one.hop}`;
                for (
                  const [name, found, expected] of [["O", one.out, exact.out], ["LSE", one.lse, exact.lse]] as const
                ) {
                  const { within, max } = difference(found, expected, { absolute: 4e-6, relative: 1e-5 });
                  assert.ok(within, `${what}: ${name} off by ${max}`);
                }
                compared += one.rows.length;
              }
              const rows = input.q.length / (input.heads * input.headDim);
              assert.equal(
                compared,
                rows * (ranks + (variant === "pass-q" && ranks > 1 ? 1 : 0)),
                `${variant}: rows handed out`,
              );
              // The last merge gives the result itself.
              for (
                const { kind, hop, rows: of, out: o, lse: l } of made.filter((
                  m,
                ) => (variant === "pass-q" && ranks > 1 ? m.kind === "merge" : m.hop === ranks - 1))
              ) {
                assert.ok(kind === "merge" || hop === ranks - 1);
                of.forEach((row, place) => {
                  const width = input.heads * input.headDim;
                  same(o.slice(place * width, (place + 1) * width), out.slice(row * width, (row + 1) * width));
                  same(
                    l.slice(place * input.heads, (place + 1) * input.heads),
                    lse.slice(row * input.heads, (row + 1) * input.heads),
                  );
                });
              }
            }
          }
        });
      },
    );
  }
}

for (const backend of ["cpu", "webgpu"] as const) {
  test(
    `${backend}: under local masks and sinks halted runs give the same bits, and partials of what each message kept`,
    backend === "cpu" ? {} : nodeFirst,
    async () => {
      for (const ranks of [3, 8]) {
        await using({ ranks, backend }, async (cluster) => {
          for (const [i, mask] of ["window:9", "chunk:16+2"].entries()) {
            for (const variant of VARIANTS) {
              const input = {
                ...experiment({ sequences: [{ new: 61, cached: 30 }, { new: 3, cached: 0 }], mask: readMask(mask)! }),
                sinks: Float32Array.of(-50, 0, 1, 50),
                dealing: DEALINGS[i],
                variant,
              };
              const plain = await cluster.attend(input);
              assert.ok(check(input, plain).passed);
              const { out, lse, halts, made } = await stepped(cluster, input);
              same(out, plain.out);
              same(lse, plain.lse);
              for (const own of halts) {
                assert.deepEqual(own.slice(0, ranks).map(({ next }) => next), Array(ranks).fill("attend"));
                assert.equal(own.at(-1)!.next, "end");
              }
              for (const one of made) {
                const exact = exactPartial(input, ranks, one);
                const what = `N ${ranks} ${mask} ${variant} rank ${one.rank} ${one.kind} hop ${one.hop}`;
                assert.ok(difference(one.out, exact.out, { absolute: 4e-6, relative: 1e-5 }).within, `${what}: O`);
                assert.ok(difference(one.lse, exact.lse, { absolute: 4e-6, relative: 1e-5 }).within, `${what}: LSE`);
              }
              // Messages lack what no later rank sees.
              const held = (halt: Halt) =>
                (variant === "pass-kv" ? halt.keys : halt.queries)?.runs.reduce((sum, { length }) => sum + length, 0);
              assert.ok(halts.some((own) => held(own[1])! < held(own[0])!));
              assert.ok(plain.report.skipped.bytes > 0);
            }
          }
        });
      }
    },
  );
}

const small = experiment({ sequences: [{ new: 50, cached: 13 }], heads: 4, kvHeads: 2, headDim: 16 });

test("a halted rank says what it holds, has sent and awaits, and nobody goes on without leave", async () => {
  await using({ ranks: 3, backend: "cpu", timeout: 2 }, async (cluster) => {
    const now: (Halt | undefined)[] = [];
    const attending = cluster.attend({
      ...small,
      variant: "pass-kv",
      wireDtype: "bf16",
      onHalt: (halt) => (now[halt.rank] = halt),
    });
    await until(() => [0, 1, 2].every((k) => now[k]?.mail.received.length === 1), "three ranks with their first chunk");
    const bytes = 2 * (17 + 5) * 2 * 16 * 2;
    for (const k of [0, 1, 2]) {
      const { next, hop, mail, queries, keys, made } = now[k]!;
      assert.deepEqual([next, hop, queries!.owner, keys!.owner, made], ["attend", 0, k, k, undefined]);
      assert.deepEqual(
        keys!.runs.map(({ start, length }) => [start, length]),
        shard(small.sequences, 3).keys[k].runs.map(({ start, length }) => [start, length]),
      );
      assert.deepEqual(mail.sent, [{ kind: "ring", hop: 0, peer: (k + 1) % 3, owner: k, bytes, delivered: true }]);
      assert.deepEqual(mail.received, [{ kind: "ring", hop: 0, peer: (k + 2) % 3, owner: (k + 2) % 3, bytes }]);
      assert.deepEqual(mail.awaiting, []);
    }
    // Rank 1 alone goes on: to hop 1, whose transfer it begins, and no further.
    now[1]!.leave();
    now[1]!.leave();
    await until(() => now[1]!.hop === 1, "rank 1 at hop 1");
    assert.deepEqual(now[1]!.mail.awaiting, [{ kind: "ring", hop: 1, peer: 0 }]);
    assert.deepEqual(now[1]!.mail.sent.map(({ hop, owner, peer }) => [hop, owner, peer]), [[0, 1, 2], [1, 0, 2]]);
    assert.equal(now[1]!.made!.rows.length, 17);
    // Longer than the cluster's patience: halted ranks, and one that waits for them, are not at fault.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.deepEqual([now[0]!.hop, now[1]!.hop, now[2]!.hop], [0, 1, 0]);
    now[0]!.leave();
    await until(() => now[1]!.mail.awaiting.length === 0, "what rank 1 awaits of rank 0, told while it is halted");
    for (let done = false; !done;) {
      for (const halt of now) halt!.leave();
      done = await Promise.race([
        attending.then(() => true),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20)),
      ]);
    }
    same((await attending).out, (await cluster.attend({ ...small, variant: "pass-kv", wireDtype: "bf16" })).out);
  });
});

test("over a slow link a halted rank reports when its messages have left", async () => {
  await using({ ranks: 2, backend: "cpu", link: { bandwidth: 1e4, latency: 0.05 } }, async (cluster) => {
    const told: boolean[] = [];
    const halted = new Set<number>();
    const controller = new AbortController();
    const attending = cluster.attend({
      ...small,
      variant: "pass-q",
      signal: controller.signal,
      onHalt(halt) {
        halted.add(halt.rank);
        if (halt.rank === 0) told.push(halt.mail.sent[0].delivered);
      },
    });
    attending.catch(() => {});
    await until(() => halted.size === 2 && told.includes(true), "the chunk that has left");
    assert.equal(told[0], false);
    controller.abort();
    await assert.rejects(attending, { name: "AbortError" });
  });
});

test("only the watched rows travel", async () => {
  await using({ ranks: 3, backend: "cpu" }, async (cluster) => {
    for (const variant of VARIANTS) {
      const whole = await stepped(cluster, { ...small, variant });
      const some = await stepped(cluster, { ...small, variant, watch: [49, 3, 3] } as FixedInput);
      assert.deepEqual(
        some.made.flatMap(({ rows }) => rows).sort((a, b) => a - b),
        [3, 3, 3, 49, 49, 49].concat(variant === "pass-q" ? [3, 49] : []).sort((a, b) => a - b),
      );
      for (const { rank, kind, hop, rows, out, lse } of some.made) {
        const all = whole.made.find((m) => m.rank === rank && m.kind === kind && m.hop === hop)!;
        rows.forEach((row, place) => {
          const at = all.rows.indexOf(row);
          same(out.slice(place * 64, (place + 1) * 64), all.out.slice(at * 64, (at + 1) * 64));
          same(lse.slice(place * 4, (place + 1) * 4), all.lse.slice(at * 4, (at + 1) * 4));
        });
      }
    }
    await assert.rejects(cluster.attend({ ...small, watch: [1] }), InputError);
    await assert.rejects(cluster.attend({ ...small, watch: [50], onHalt: (halt) => halt.leave() }), InputError);
  });
});

for (const backend of ["cpu", "webgpu"] as const) {
  test(`${backend}: cancelled while halted, it stops in bounded time and the cluster goes on`, async () => {
    await using({ ranks: 3, backend }, async (cluster) => {
      for (const variant of VARIANTS) {
        const plain = await cluster.attend({ ...small, variant });
        const controller = new AbortController();
        const halted = new Set<number>();
        const attending = cluster.attend({
          ...small,
          variant,
          signal: controller.signal,
          onHalt: (halt) => (halt.hop === 0 && halt.rank !== 2 ? halt.leave() : halted.add(halt.rank)),
        });
        attending.catch(() => {});
        await until(() => halted.size === 3, "three halted ranks");
        const start = performance.now();
        controller.abort();
        await assert.rejects(attending, { name: "AbortError" });
        assert.ok(performance.now() - start < patience(2500), `took ${performance.now() - start} ms`);
        same((await cluster.attend({ ...small, variant })).out, plain.out);
      }
    });
  });
}

test("disposed while halted, the run fails and the ranks end in bounded time", async () => {
  const cluster = await Cluster.start(platform, { ranks: 3, backend: "cpu" });
  const halted = new Set<number>();
  const failed = assert.rejects(cluster.attend({ ...small, onHalt: (halt) => halted.add(halt.rank) }), /disposed/);
  await until(() => halted.size === 3, "three halted ranks");
  const start = performance.now();
  await cluster.dispose();
  await failed;
  assert.ok(performance.now() - start < patience(3000), `took ${performance.now() - start} ms`);
});

test("a callback that throws fails the run with its error", async () => {
  await using({ ranks: 2, backend: "cpu" }, async (cluster) => {
    await assert.rejects(
      cluster.attend({
        ...small,
        onHalt: () => {
          throw new Error("of the caller");
        },
      }),
      /of the caller/,
    );
  });
});

test("a worker killed while halted is noticed in bounded time, and the cluster can be repaired", async () => {
  for (const how of ["strike", "terminate"] as const) {
    await using({ ranks: 3, backend: "cpu", timeout: 3 }, async (cluster, workers) => {
      const now: (Halt | undefined)[] = [];
      const failed = assert.rejects(
        cluster.attend({ ...small, onHalt: (halt) => (now[halt.rank] = halt) }),
        (error) => {
          assert.ok(error instanceof RankError && error.rank === 1, String(error));
          return true;
        },
      );
      await until(() => [0, 1, 2].every((k) => now[k] !== undefined), "three halted ranks");
      const start = performance.now();
      if (how === "strike") now[1]!.strike("exit");
      else workers[1].terminate();
      await failed;
      assert.ok(performance.now() - start < patience(4500), `${how}: took ${performance.now() - start} ms`);
      assert.deepEqual(await cluster.repair(), [1]);
      assert.equal((await cluster.attend(small)).lse.length, 200);
    });
  }
});

test("a device lost while its rank is halted is named, and the cluster can be repaired", async () => {
  await using({ ranks: 2, backend: "webgpu" }, async (cluster) => {
    await assert.rejects(
      cluster.attend({
        ...small,
        onHalt: (halt) => (halt.rank === 1 && halt.hop === 1 ? halt.strike("lose-device") : halt.leave()),
      }),
      (error) => {
        assert.ok(error instanceof RankError && error.rank === 1 && error.hop === 1, String(error));
        assert.match(error.message, /its GPU device was lost .*awaited: leave to go on/);
        return true;
      },
    );
    assert.deepEqual(await cluster.repair(), [1]);
    assert.equal((await cluster.attend(small)).lse.length, 200);
  });
});
