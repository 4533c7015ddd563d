/** What a window leaves of a ring's bytes, against a count of its own: of the routes at full size, of a run at 1/64. */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { type Dealing, DEALINGS, shard } from "../../../engine/layout/shards.ts";
import { check } from "../../../engine/reference/check.ts";
import type { Variant } from "../../../engine/ring/contract.ts";
import { chunkBounds, Route } from "../../../engine/ring/route.ts";
import { experiment } from "../../experiment.ts";
import { oneDevice } from "../../one-device.ts";

const N = 8;
const VARIANTS = ["pass-kv", "pass-q"] as const;

/** The chunks of each rank, as in the paper's Fig. 1, or two after the other. */
const held = (dealing: Dealing, rank: number) => dealing === "head-tail" ? [rank, 15 - rank] : [2 * rank, 2 * rank + 1];

/** Whether a query of chunk q sees a key of chunk k: its first query reaches back W - 1 tokens. */
const meet = (q: number, k: number, size: number, W: number) =>
  k === q || (k < q && q * size - (W - 1) <= (k + 1) * size - 1);

/** Tokens that each rank sends round the ring, tokens of the partial results that it sends home, and its messages. */
function counted(T: number, W: number, variant: Variant, dealing: Dealing) {
  const size = T / (2 * N);
  return Array.from({ length: N }, (_, rank) => {
    const sent = { ring: 0, home: 0, messages: 0 };
    const needed = (owner: number, by: readonly number[]) =>
      held(dealing, owner).filter((own) =>
        by.some((other) =>
          held(dealing, other).some((c) => variant === "pass-kv" ? meet(c, own, size, W) : meet(own, c, size, W))
        )
      ).length * size;
    for (let hop = 0; hop < N - 1; hop++) {
      // It sends what it holds at this hop to rank + 1. The ranks before the owner get it last.
      const owner = (rank - hop + N) % N;
      const later = Array.from({ length: N - 1 - hop }, (_, i) => (rank + 1 + i) % N);
      const tokens = needed(owner, later);
      sent.ring += tokens;
      sent.messages += Number(tokens > 0);
    }
    for (let owner = 0; owner < N && variant === "pass-q"; owner++) {
      if (owner === rank) continue;
      const tokens = needed(owner, [rank]);
      sent.home += tokens;
      sent.messages += Number(tokens > 0);
    }
    return sent;
  });
}

/**
 * The share of a whole ring's tokens. A key chunk is needed where the next chunk lies: with contiguous dealing one hop
 * on, for every other chunk. A query chunk is needed where the one before lies: N-1 hops on.
 */
const SHARES = {
  "pass-kv head-tail": 1 / 2,
  "pass-kv contiguous": 1 / 16,
  "pass-q head-tail": 1 / 2,
  "pass-q contiguous": 7 / 16,
};

/** Bytes of a token: K and V, or Q, in f32; O and LSE. */
const bytesOf = (variant: Variant, heads: number, kvHeads: number, D: number) => ({
  ring: 4 * D * (variant === "pass-kv" ? 2 * kvHeads : heads),
  home: 4 * (D + 1) * heads,
});

for (const variant of VARIANTS) {
  for (const dealing of DEALINGS) {
    test(`W = 4,096 of 131,072 tokens, N = 8, ${variant}, ${dealing}: routes send what the mask needs`, () => {
      const [T, W] = [131_072, 4096];
      const one = { new: T, cached: 0 };
      const shards = { ...shard([one], N, dealing), bounds: new Map([[0, chunkBounds(one, N, dealing)]]) };
      const route = new Route(variant, shards, { kind: "window", size: W });
      const ranks = Array.from({ length: N }, (_, k) => k);
      const rows = ranks.map((rank) => {
        const round = ranks.slice(0, N - 1).map((hop) => route.sent(rank, hop).rows);
        const home = variant === "pass-q" ? ranks.filter((s) => s !== rank).map((s) => route.parcel(rank, s).rows) : [];
        const sum = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0);
        return { ring: sum(round), home: sum(home), messages: [...round, ...home].filter((rows) => rows > 0).length };
      });
      assert.deepEqual(rows, counted(T, W, variant, dealing));
      const tokens = rows.reduce((sum, { ring }) => sum + ring, 0);
      assert.equal(tokens / ((N - 1) * T), SHARES[`${variant} ${dealing}`]);
    });

    test(`W = 64 of 2,048 tokens, N = 8, ${variant}, ${dealing}: a run sends that many bytes`, async () => {
      const [T, W, D] = [2048, 64, 16];
      const input = {
        ...experiment({ sequences: [{ new: T, cached: 0 }], heads: 1, kvHeads: 1, headDim: D }),
        mask: { kind: "window", size: W } as const,
        variant,
        dealing,
      };
      const cluster = await Cluster.start(await oneDevice(), { ranks: N, backend: "cpu" });
      try {
        const { out, lse, report } = await cluster.attend(input);
        const bytes = bytesOf(variant, 1, 1, D);
        const expected = counted(T, W, variant, dealing);
        const all = (N - 1) * (T / N) * (bytes.ring + (variant === "pass-q" ? bytes.home : 0));
        const messages = (N - 1) * (variant === "pass-q" ? 2 : 1);
        for (const [rank, { bytesSent, ring, all2all, messages: sent, skipped }] of report.perRank.entries()) {
          const { ring: round, home, messages: own } = expected[rank];
          assert.deepEqual([ring.bytes, all2all.bytes, sent], [round * bytes.ring, home * bytes.home, own]);
          assert.equal(bytesSent, ring.bytes + all2all.bytes);
          assert.deepEqual(skipped, { messages: messages - own, bytes: all - bytesSent });
        }
        assert.ok(check(input, { out, lse }).passed);
      } finally {
        await cluster.dispose();
      }
    });
  }
}
