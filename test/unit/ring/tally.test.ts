/** What a ring sends and skips, against a count from single query-key pairs. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { keysSeen, pairsBetween } from "../../../engine/layout/pairs.ts";
import { chunkPair, chunks, DEALINGS, shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { tally } from "../../../engine/ring/tally.ts";
import { isLocal, type Mask, sinkTokensOf } from "../../../engine/layout/mask.ts";
import { experiment } from "../../experiment.ts";
import { testPlatform } from "../../platform.ts";

/** Whether the query at position p sees the key at position k. */
function sees(mask: Mask, p: number, k: number): boolean {
  if (mask.kind === "full") return true;
  if (k > p) return false;
  if (!isLocal(mask) || k < sinkTokensOf(mask)) return true;
  return mask.kind === "window" ? k > p - mask.size : Math.floor(k / mask.size) === Math.floor(p / mask.size);
}

const positions = (ranges: readonly { start: number; end: number }[]) =>
  ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));

const MASK: fc.Arbitrary<Mask> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("window" as const, "chunk" as const),
    size: fc.integer({ min: 1, max: 30 }),
    sinkTokens: fc.integer({ min: 0, max: 3 }),
  }),
  fc.constantFrom<Mask>({ kind: "causal" }, { kind: "full" }),
);
const CASE = fc.record({
  T: fc.integer({ min: 1, max: 40 }),
  P: fc.integer({ min: 0, max: 40 }),
  N: fc.integer({ min: 1, max: 5 }),
  mask: MASK,
  dealing: fc.constantFrom(...DEALINGS),
  variant: fc.constantFrom("pass-kv" as const, "pass-q" as const),
});

test("messages, parcels, hops and pairs match a count of single pairs", () => {
  fc.assert(
    fc.property(CASE, ({ T, P, N, mask, dealing, variant }) => {
      const local = isLocal(mask);
      const [fresh, old] = [chunks(T, N, P, dealing), chunks(P, N, 0, dealing)];
      const queriesOf = (k: number) => chunkPair(dealing, k, N).map((c) => fresh[c]);
      const keysOf = (k: number) => [...chunkPair(dealing, k, N).map((c) => old[c]), ...queriesOf(k)];
      const [visits, stays] = variant === "pass-kv" ? [keysOf, queriesOf] : [queriesOf, keysOf];
      const meets = (visitor: number, resident: number) =>
        variant === "pass-kv" ? sees(mask, resident, visitor) : sees(mask, visitor, resident);
      const needed = (chunk: { start: number; end: number }, rank: number) =>
        positions(stays(rank)).some((r) => positions([chunk]).some((v) => meets(v, r)));
      const { queries, keys } = shard([{ new: T, cached: P }], N, dealing);
      const whole = (owner: number) => (variant === "pass-kv" ? keys : queries)[owner].rows;
      const some = (owner: number, ranks: readonly number[]) => {
        const held = visits(owner).filter(({ start, end }) => end > start);
        const wanted = held.filter((chunk) => ranks.some((rank) => needed(chunk, rank)));
        if (!local || (wanted.length === held.length && held.length > 0)) return whole(owner);
        return positions(wanted).length;
      };
      const ring = { messages: 0, rows: 0 };
      const parcels = { messages: 0, rows: 0 };
      const pairs: number[] = [];
      let idle = 0;
      for (let rank = 0; rank < N; rank++) {
        pairs[rank] = 0;
        for (let hop = 0; hop < N; hop++) {
          const owner = (rank - hop + N) % N;
          const seen = positions(stays(rank)).reduce(
            (sum, r) => sum + positions(visits(owner)).filter((v) => meets(v, r)).length,
            0,
          );
          pairs[rank] += seen;
          idle += Number(seen === 0);
          const later = Array.from({ length: N - 1 - hop }, (_, i) => (rank + 1 + i) % N);
          const sent = later.length === 0 ? 0 : some(owner, later);
          ring.rows += sent;
          ring.messages += Number(sent > 0);
          const home = variant === "pass-kv" || owner === rank ? 0 : some(owner, [rank]);
          parcels.rows += home;
          parcels.messages += Number(home > 0);
        }
      }
      const found = tally(variant, [{ new: T, cached: P }], N, mask, dealing);
      assert.deepEqual(found.ring, ring);
      assert.deepEqual(found.parcels, parcels);
      assert.deepEqual(found.pairs, pairs);
      assert.equal(found.skipped.hops, idle);
      const messages = N * (N - 1);
      assert.equal(ring.messages + found.skipped.ring.messages, messages);
      assert.equal(parcels.messages + found.skipped.parcels.messages, variant === "pass-q" ? messages : 0);
    }),
    { numRuns: 300 },
  );
});

test("rows of keys that some query sees, and pairs, match the layout's visibility", () => {
  fc.assert(
    fc.property(CASE, ({ T, P, N, mask, dealing }) => {
      const { queries, keys } = shard([{ new: T, cached: P }, { new: P + 1, cached: T }], N, dealing);
      for (const q of queries) {
        for (const kv of keys) {
          const { bands, pairs } = visibility(q, kv, mask);
          const seen = new Set<number>();
          for (const band of bands) {
            for (let r = 0; r < q.rows; r++) for (let k = band[2 * r]; k < band[2 * r + 1]; k++) seen.add(k);
          }
          assert.equal(keysSeen(q, kv, mask), seen.size);
          assert.equal(pairsBetween(q, kv, mask), pairs);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("W = 4,096 of 131,072 tokens on 8 ranks: a window's messages, by hand", () => {
  const step = [{ new: 131_072, cached: 0 }];
  const window: Mask = { kind: "window", size: 4096 };
  const half = 131_072 / 16;
  // Contiguous: the second half of each rank's keys goes to the next rank. The last rank's keys go nowhere.
  assert.deepEqual(tally("pass-kv", step, 8, window, "contiguous").ring, { messages: 7, rows: 7 * half });
  // Queries need the keys of the rank before, which is 7 hops away on the ring. Rank 0's need none.
  assert.deepEqual(tally("pass-q", step, 8, window, "contiguous").ring, { messages: 49, rows: 49 * half });
  assert.deepEqual(tally("pass-q", step, 8, window, "contiguous").parcels, { messages: 7, rows: 7 * half });
  // Head-tail: C_k goes one hop, to C_k+1 (C_7's next is its own rank's C_8); C_15-k goes 7 hops, to the rank before.
  assert.equal(tally("pass-kv", step, 8, window, "head-tail").ring.rows, (7 * 1 + 7 * 7) * half);
  // A mask that hides nothing sends every message.
  assert.deepEqual(tally("pass-kv", step, 8, { kind: "causal" }).ring, { messages: 56, rows: 56 * 2 * half });
});

test("ranks send the messages, bytes and parcels that are counted, also if some have no tokens", async () => {
  const sequences = [{ new: 2, cached: 9 }, { new: 13, cached: 0 }];
  const cluster = await Cluster.start(await testPlatform(), { ranks: 3, backend: "cpu" });
  try {
    for (const mask of [{ kind: "window", size: 5 }, { kind: "chunk", size: 4, sinkTokens: 2 }] as const) {
      for (const dealing of DEALINGS) {
        for (const variant of ["pass-kv", "pass-q"] as const) {
          const input = experiment({ sequences, heads: 4, kvHeads: 2, headDim: 16 });
          const { report: { perRank, skipped } } = await cluster.attend({ ...input, mask, dealing, variant });
          const counted = tally(variant, sequences, 3, mask, dealing);
          const row = variant === "pass-kv" ? 2 * 2 * 16 * 4 : 4 * 16 * 4;
          const sent = perRank.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
          assert.equal(sent, counted.ring.rows * row + counted.parcels.rows * 4 * (16 + 1) * 4);
          const { hops, ring, parcels } = counted.skipped;
          assert.deepEqual([skipped.hops, skipped.messages], [hops, ring.messages + parcels.messages]);
        }
      }
    }
  } finally {
    await cluster.dispose();
  }
});
