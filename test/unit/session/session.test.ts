/** Sessions on real workers: any script of steps matches one full prefill, and a step happens whole or not at all. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import fc from "fast-check";
import type { SessionOptions, SessionRows } from "../../../engine/cluster/types.ts";
import { InputError, LimitError, RankError } from "../../../engine/errors.ts";
import { isLocal, type Mask } from "../../../engine/layout/mask.ts";
import { DEALINGS } from "../../../engine/layout/shards.ts";
import { oneDevice } from "../../one-device.ts";
import { nodeFirst } from "../../tiers.ts";
import { talking } from "./conversation.ts";

const SMALL: SessionOptions = { heads: 4, kvHeads: 2, headDim: 16 };

test("a conversation on the GPU against float64: prefill, decode, fused and partial prefills, both variants", async () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    await talking({ ranks: 3 }, { ...SMALL, variant }, [200, 77, 40], async (talk) => {
      await talk.step([[0, 100], [1, 40]]);
      await talk.step([[0, 1], [1, 1]]);
      await talk.step([[1, 30], [2, 7]]);
      for (let i = 0; i < 5; i++) await talk.step([[0, 1], [1, 1], [2, 1]]);
      await talk.step([[0, 70]]);
      await talk.step([[0, 1]]);
      talk.verify();
    });
  }
});

test("eight ranks on the GPU, 16-bit wire, more ranks than queries, a cache of several pages", async () => {
  await talking(
    { ranks: 8 },
    { heads: 8, kvHeads: 1, headDim: 16, wireDtype: "bf16", variant: "auto" },
    [1200, 30],
    async (talk) => {
      await talk.step([[0, 1100]]);
      await talk.step([[0, 5], [1, 3]]);
      for (let i = 0; i < 3; i++) await talk.step([[0, 1], [1, 1]]);
      talk.verify();
    },
    await oneDevice(),
  );
});

test("random models, ranks, batches, scripts and wire types on the plain back-end", nodeFirst, async () => {
  const script = fc.record({
    ranks: fc.constantFrom(1, 2, 3, 4, 8),
    heads: fc.constantFrom([4, 4], [8, 2], [8, 1], [6, 3]),
    headDim: fc.constantFrom(16, 20, 64),
    wireDtype: fc.constantFrom("f32", "f16", "bf16"),
    variant: fc.constantFrom("auto", "pass-kv", "pass-q"),
    mask: fc.oneof(
      fc.constant<Mask>({ kind: "causal" }),
      fc.record({
        kind: fc.constantFrom("window" as const, "chunk" as const),
        size: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 90 })),
        sinkTokens: fc.constantFrom(0, 0, 1, 5),
      }),
    ),
    dealing: fc.constantFrom(...DEALINGS),
    sinks: fc.boolean(),
    values: fc.constantFrom({}, { valueDim: 24 }, { v: { prefixOfK: 16 } }),
    steps: fc.array(
      fc.array(
        fc.tuple(
          fc.nat(2),
          fc.oneof({ weight: 2, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) }),
        ),
        { minLength: 1, maxLength: 3 },
      ),
      { minLength: 1, maxLength: 8 },
    ),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ ranks, heads: [heads, kvHeads], sinks, values, steps, ...rest }) => {
      const logits = sinks ? { sinks: Float32Array.from({ length: heads }, (_, h) => [-50, 0, 50][h % 3]) } : {};
      await talking(
        { ranks, backend: "cpu" },
        { heads, kvHeads, ...rest, ...values, ...logits },
        [400, 400, 400],
        async (talk) => {
          for (const step of steps) {
            const once = new Map(step);
            const { report } = await talk.step([...once]);
            const sizes = report.spans.filter((s) => s.lane === "send" && s.kind === "send").map((s) => s.bytes);
            if (!isLocal(rest.mask)) {
              assert.ok(new Set(sizes).size <= 1, `ring messages of ${[...new Set(sizes)]} bytes, expected equal ones`);
            }
          }
          talk.verify();
        },
      );
    }),
    { numRuns: 25, seed: 20241104 },
  );
});

test("a failed or cancelled step changes no rank's cache, and the next step is exact", async () => {
  await talking({ ranks: 3, backend: "cpu", link: { bandwidth: 2e5, latency: 0 } }, { ...SMALL, capacity: 128 }, [
    400,
    100,
  ], async (talk, cluster) => {
    await talk.step([[0, 90]]);
    const before = await talk.session.snapshot();
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    await assert.rejects(talk.step([[0, 100], [1, 64]], { signal: controller.signal }), { name: "AbortError" });
    assert.deepEqual(await talk.session.snapshot(), before);
    await assert.rejects(talk.step([[0, 300], [1, 64]]), (error) => {
      assert.ok(error instanceof LimitError);
      assert.match(error.message, /rank 0: free tokens of the KV cache.*has 64.*needs 128/);
      return true;
    });
    assert.deepEqual(await talk.session.snapshot(), before);
    await assert.rejects(talk.session.decode([talk.rows(1, 1)]), /found no cached row/);
    await assert.rejects(talk.session.prefill([talk.rows(0, 2), talk.rows(0, 2)]), /twice/);
    assert.equal(cluster.size, 3);
    await talk.step([[0, 1]]);
    await talk.step([[0, 20], [1, 5]]);
    talk.verify();
  });
});

test("a rank killed at each hop of a prefill and of a decode is replaced, and nothing is lost", nodeFirst, async () => {
  for (
    const [mode, hop, variant] of [
      ["prefill", 0, "pass-kv"],
      ["prefill", 1, "pass-q"],
      ["prefill", 2, "pass-q"],
      ["decode", 0, "pass-kv"],
      ["decode", 1, "pass-kv"],
      ["decode", 2, "pass-kv"],
    ] as const
  ) {
    const step = mode === "prefill" ? 2 : 1;
    await talking(
      { ranks: 3, backend: "cpu", timeout: 1.5, fault: { rank: 1, hop, step, kind: "exit" } },
      { ...SMALL, variant },
      [200],
      async (talk, cluster) => {
        await talk.step([[0, 61]]);
        if (mode === "prefill") await talk.step([[0, 1]]);
        const before = talk.session.tokens;
        await assert.rejects(talk.step([[0, mode === "prefill" ? 40 : 1]]), RankError);
        assert.deepEqual(talk.session.tokens, before);
        assert.deepEqual(await cluster.repair(), [1]);
        await talk.step([[0, mode === "prefill" ? 40 : 1]]);
        await talk.step([[0, 1]]);
        talk.verify();
      },
    );
  }
});

test("a lost device is replaced with its cache", async () => {
  await talking(
    { ranks: 2, fault: { rank: 0, hop: 0, step: 1, kind: "lose-device" } },
    { ...SMALL, variant: "pass-q" },
    [120],
    async (talk, cluster) => {
      await talk.step([[0, 70]]);
      const before = await talk.session.snapshot();
      await assert.rejects(talk.step([[0, 20]]), RankError);
      assert.deepEqual(await cluster.repair(), [0]);
      assert.deepEqual(await talk.session.snapshot(), before);
      await talk.step([[0, 20]]);
      talk.verify();
    },
  );
});

test("a snapshot restores byte by byte, also in another session; a damaged one is refused before any change", async () => {
  let bytes: Uint8Array | undefined;
  await talking({ ranks: 2, backend: "cpu" }, { ...SMALL, wireDtype: "bf16" }, [90, 30], async (talk) => {
    await talk.step([[0, 64], [1, 9]]);
    await talk.step([[0, 1], [1, 1]]);
    bytes = await talk.session.snapshot();
    await talk.session.drop(1);
    assert.deepEqual(talk.session.tokens.map((t) => t.sequence), [0]);
    await talk.step([[0, 5]]);
    await talk.session.restore(bytes);
    assert.deepEqual(await talk.session.snapshot(), bytes);
    for (
      const damaged of [
        bytes.subarray(0, bytes.length - 1),
        bytes.subarray(0, 10),
        bytes.with(25, 0),
        new Uint8Array([...bytes, 0]),
      ]
    ) {
      await assert.rejects(talk.session.restore(damaged), InputError);
    }
    assert.deepEqual(await talk.session.snapshot(), bytes);
  });
  await talking({ ranks: 2, backend: "cpu" }, { ...SMALL, wireDtype: "bf16" }, [90, 30], async (talk) => {
    await talk.session.restore(bytes!);
    assert.deepEqual(await talk.session.snapshot(), bytes);
    await assert.rejects(talk.session.prefill([{ ...talk.rows(0, 3), k: new Float32Array(1) }]), /k: found 1 elements/);
  });
  await talking({ ranks: 2, backend: "cpu" }, { ...SMALL, headDim: 20, wireDtype: "bf16" }, [10], async (talk) => {
    await assert.rejects(talk.session.restore(bytes!), /found headDim 16, expected this session's 20/);
  });
});

test("a snapshot from a file restores, at any offset of its bytes in memory", async () => {
  await talking({ ranks: 2, backend: "cpu" }, SMALL, [60], async (talk) => {
    await talk.step([[0, 41]]);
    const bytes = await talk.session.snapshot();
    const file = path.join(await mkdtemp(path.join(os.tmpdir(), "ringside-")), "s.bin");
    await writeFile(file, bytes);
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    for (const given of [await readFile(file), shifted, shared]) {
      const restoring = talk.session.restore(given);
      if (given === shifted) given.fill(0);
      await restoring;
      assert.deepEqual(await talk.session.snapshot(), bytes);
    }
    await rm(path.dirname(file), { recursive: true });
    await talk.step([[0, 7]]);
    talk.verify();
  });
});

test("queries that overflow with cached keys are refused, and the session continues", async () => {
  await talking({ ranks: 2, backend: "cpu" }, SMALL, [60], async (talk) => {
    await talk.step([[0, 20]]);
    const huge = (rows: SessionRows, which: "q" | "k") => ({ ...rows, [which]: rows[which].map(() => 1e30) });
    const other = { ...huge(talk.rows(0, 3), "k"), sequence: 1 };
    await talk.session.prefill([other]);
    for (const snapshot of [undefined, await talk.session.snapshot()]) {
      if (snapshot !== undefined) await talk.session.restore(snapshot);
      await assert.rejects(
        talk.session.prefill([{ ...huge(talk.rows(0, 3), "q"), sequence: 1 }]),
        (error) => error instanceof InputError && /overflow f32/.test(error.message),
      );
      await assert.rejects(talk.session.decode([{ ...huge(talk.rows(0, 1), "q"), sequence: 1 }]), InputError);
    }
    await assert.rejects(
      talk.session.prefill([talk.rows(0, 3)], { varient: "pass-q" } as object),
      /varient.*did you mean "variant"/,
    );
    await talk.step([[0, 5]]);
    talk.verify();
  });
});

test("500 mixed steps: buffers, pages and heap do not grow", nodeFirst, async () => {
  await talking({ ranks: 2 }, { ...SMALL, capacity: 512, variant: "auto" }, [40_000], async (talk, cluster) => {
    const held = async () => await cluster.ranks.askAll((service) => service.held());
    let early: { buffers: number; bytes: number }[] = [];
    let heap = 0;
    for (let i = 0; i < 500; i++) {
      const n = i % 10 === 0 ? 3 + (i % 7) : 1;
      const rows = { ...talk.rows(0, n), sequence: Math.floor(i / 50) };
      if (i % 50 === 0 && i > 0) await talk.session.drop(Math.floor(i / 50) - 1);
      await (n === 1 ? talk.session.decode([rows]) : talk.session.prefill([rows]));
      if (i === 149) [early, heap] = [await held(), process.memoryUsage().heapUsed];
    }
    const late = await held();
    // The number of buffers in a step depends on timing, and on the variant that measured rates choose: up to about 27
    // here. If each step left one behind, there would be 350 more.
    late.forEach((now, rank) =>
      assert.ok(
        now.buffers <= early[rank].buffers + 8 && now.bytes <= early[rank].bytes + 65_536,
        `rank ${rank}: ${JSON.stringify(early[rank])}, then ${JSON.stringify(now)}`,
      )
    );
    assert.equal(talk.session.tokens.length, 1);
    const grown = process.memoryUsage().heapUsed - heap;
    assert.ok(grown < 64e6, `the heap grew by ${grown} bytes in 350 steps`);
  });
});
