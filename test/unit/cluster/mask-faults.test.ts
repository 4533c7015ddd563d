/**
 * Faults at each hop of a step under masks that leave some hops without a message: a named error in bounded time, or a
 * right result if nothing was to be sent. After a repair the same step is right.
 */
import assert from "node:assert/strict";
import test from "node:test";
import type { ClusterOptions } from "../../../engine/cluster/types.ts";
import { RankError } from "../../../engine/errors.ts";
import { readMask } from "../../../engine/layout/mask.ts";
import { patience } from "../../patience.ts";
import { nodeFirst, thorough } from "../../tiers.ts";
import { talking } from "../session/conversation.ts";

const HEADS = { heads: 4, kvHeads: 2, headDim: 16 };
const [CACHED, NEW] = [13, 60];

const KINDS = [
  ["cpu", "drop", "contiguous"],
  ["cpu", "drop", "head-tail"],
  ["cpu", "exit", "contiguous"],
  ["webgpu", "lose-device", "head-tail"],
] as const;

for (const mask of ["window:9", "chunk:20", "window:5+2"]) {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    for (const [backend, kind, dealing] of KINDS) {
      const few = mask !== "window:9" ? thorough : backend === "cpu" && dealing === "contiguous" ? nodeFirst : thorough;
      test(`${mask}, ${variant}, ${dealing}: rank 1 fails at each hop, ${kind}`, few, async () => {
        const cluster: ClusterOptions = { ranks: 3, backend, timeout: 1 };
        const options = { ...HEADS, variant, dealing, mask: readMask(mask)! };
        await talking(cluster, options, Array(4).fill(CACHED + NEW), async (talk, running) => {
          // The same step without a fault shows what rank 1 sends at each hop.
          await talk.step([[3, CACHED]]);
          const { spans } = (await talk.step([[3, NEW]])).report;
          for (const hop of variant === "pass-q" ? [0, 1, 2] : [0, 1]) {
            await talk.step([[hop, CACHED]]);
            const sends = spans.some((span) => span.lane === "send" && span.rank === 1 && span.hop === hop);
            const failing = talk.step([[hop, NEW]], { fault: { rank: 1, hop, kind } });
            if (kind === "drop" && !sends) await failing;
            else {
              const start = performance.now();
              await assert.rejects(failing, (error) => {
                assert.ok(error instanceof RankError, String(error));
                assert.match(error.message, kind === "drop" ? /rank 1 has not sent it/ : /rank 1/);
                return true;
              });
              const took = performance.now() - start;
              assert.ok(took < 1000 * running.ranks.timeout.used + patience(3000), `took ${took} ms`);
              assert.deepEqual(await running.repair(), kind === "drop" ? [] : [1]);
              await talk.step([[hop, NEW]]);
            }
          }
          talk.verify();
        });
      });
    }
  }
}
