/** Sessions under windows, chunks, sinks and other head sizes of values: every step against one full prefill. */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { SessionOptions } from "../../../engine/cluster/types.ts";
import { InputError, RankError } from "../../../engine/errors.ts";
import { readMask } from "../../../engine/layout/mask.ts";
import { oneDevice } from "../../one-device.ts";
import { nodeFirst, thorough } from "../../tiers.ts";
import { Conversation, talking } from "./conversation.ts";

const platform = await oneDevice();
const SMALL: SessionOptions = { heads: 6, kvHeads: 2, headDim: 16 };
const SINKS = Float32Array.of(-50, 0, 50, 1, -1, 0);

/** Prefill, partial prefill and decode of two sequences whose lengths pass the masks' sizes at different steps. */
async function script(talk: Conversation): Promise<void> {
  await talk.step([[0, 33], [1, 5]]);
  await talk.step([[0, 1], [1, 1]]);
  await talk.step([[1, 40]]);
  await talk.step([[0, 7], [1, 90]]);
  for (let i = 0; i < 4; i++) await talk.step([[1, 1], [0, 1]]);
  await talk.step([[0, 20]]);
  talk.verify();
}

for (const [i, mask] of ["window:24", "chunk:32", "window:1", "window:30+4", "chunk:19+3"].entries()) {
  for (const backend of ["webgpu", "cpu"] as const) {
    for (const [v, variant] of (["pass-kv", "pass-q"] as const).entries()) {
      const [ranks, wireDtype] = ([[3, "f32"], [4, "bf16"], [8, "f32"], [2, "bf16"]] as const)[(i + v) % 4];
      const dealing = (["head-tail", "contiguous"] as const)[(i + 1) % 2];
      test(
        `${backend}: a session under ${mask}, ${variant}, N ${ranks}, wire ${wireDtype}, ${dealing}`,
        i < 2 && backend === "webgpu" ? {} : i % 2 === 0 ? nodeFirst : thorough,
        async () => {
          const options = { ...SMALL, mask: readMask(mask)!, variant, wireDtype, dealing };
          await talking({ ranks, backend }, options, [90, 150], script, platform);
        },
      );
    }
  }
}

test("decode under local masks, keys that begin anywhere in pages out of order", async () => {
  for (const mask of ["window:90", "chunk:71+3"]) {
    await talking({ ranks: 1 }, { ...SMALL, mask: readMask(mask)! }, [260, 260], async (talk) => {
      for (let i = 0; i < 5; i++) await talk.step([[0, 47], [1, 43]]);
      for (let i = 0; i < 5; i++) await talk.step([[0, 1], [1, 1]]);
      talk.verify();
    }, platform);
  }
});

test("GPT-OSS's layers: a session with a window and one without, both with sinks, on one cluster", async () => {
  const cluster = await Cluster.start(platform, { ranks: 3 });
  try {
    const layers: Conversation[] = [];
    for (const mask of ["window:24", "causal"]) {
      const options: SessionOptions = { ...SMALL, mask: readMask(mask)!, sinks: SINKS };
      layers.push(new Conversation(await cluster.session(options), options, [90, 150]));
    }
    for (const step of [[[0, 70], [1, 9]], [[0, 1], [1, 1]], [[1, 60]], [[0, 1], [1, 1]]] as const) {
      for (const layer of layers) {
        const { report } = await layer.step(step);
        assert.ok(report.sinks);
      }
    }
    for (const layer of layers) layer.verify();
  } finally {
    await cluster.dispose();
  }
});

for (const [what, values] of [["Dv 32", { valueDim: 32 }], ["V in K", { v: { prefixOfK: 12 + 4 } }]] as const) {
  for (const backend of ["webgpu", "cpu"] as const) {
    test(`${backend}: ${what}: a snapshot restores byte by byte, and the session goes on`, nodeFirst, async () => {
      const options: SessionOptions = { ...SMALL, headDim: 20, ...values, mask: readMask("window:40")! };
      let bytes: Uint8Array | undefined;
      await talking({ ranks: 3, backend }, options, [120, 40], async (talk) => {
        await talk.step([[0, 77], [1, 9]]);
        bytes = await talk.session.snapshot();
        const held = [...talk.held];
        await talk.session.prefill([talk.rows(0, 5)]);
        await talk.session.restore(bytes);
        assert.deepEqual(await talk.session.snapshot(), bytes);
        assert.deepEqual(talk.held, held);
        await talk.step([[0, 1], [1, 1]]);
        await talk.step([[0, 30]]);
        talk.verify();
      }, platform);
      await talking({ ranks: 3, backend }, { ...options, valueDim: undefined, v: undefined }, [9], async (talk) => {
        await assert.rejects(talk.session.restore(bytes!), InputError);
      }, platform);
    });
  }
}

test("a rank killed in a windowed step is replaced, and the same step is exact", nodeFirst, async () => {
  for (const [variant, hop] of [["pass-kv", 0], ["pass-kv", 1], ["pass-q", 0], ["pass-q", 2]] as const) {
    for (const step of [1, 2]) {
      await talking(
        { ranks: 3, backend: "cpu", timeout: 1.5, fault: { rank: 1, hop, step, kind: "exit" } },
        { ...SMALL, variant, mask: readMask("window:24+2")!, sinks: SINKS },
        [150],
        async (talk, cluster) => {
          await talk.step([[0, 61]]);
          if (step === 2) await talk.step([[0, 1]]);
          const rows = step === 2 ? 1 : 30;
          await assert.rejects(talk.step([[0, rows]]), RankError);
          assert.deepEqual(await cluster.repair(), [1]);
          await talk.step([[0, rows]]);
          await talk.step([[0, 1]]);
          talk.verify();
        },
      );
    }
  }
});
