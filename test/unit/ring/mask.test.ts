// The mask in blocks: who computes which block when, compared with the spans of the ring programs and the masks of the
// kernels.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import type { Range, Sequence } from "../../../engine/layout/shards.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { maskOf } from "../../../engine/ring/mask.ts";
import { experiment } from "../../experiment.ts";

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const block = ({ start, end }: Range) => ({
  runs: end > start ? [{ sequence: 0, start, length: end - start, row: 0 }] : [],
  rows: end - start,
});

for (const variant of ["pass-kv", "pass-q"] as const) {
  for (
    const [ranks, causal, sequences] of [
      [1, true, [{ new: 9, cached: 3 }]],
      [2, true, [{ new: 16, cached: 0 }]],
      [3, false, [{ new: 13, cached: 7 }]],
      [4, true, [{ new: 37, cached: 90 }]],
      [5, true, [{ new: 3, cached: 0 }]],
      [4, true, [{ new: 11, cached: 2 }, { new: 24, cached: 40 }]],
    ] as const satisfies readonly (readonly [number, boolean, readonly Sequence[]])[]
  ) {
    const of = `${variant}, N = ${ranks}, ${causal ? "causal" : "full"}, ${JSON.stringify(sequences)}`;
    test(`${of}: blocks are what the ranks attended to`, async () => {
      const input = experiment({ sequences, causal, variant });
      const { spans } = await attendInProcess(input, ranks, (shape, recorder) => new CpuAttention(shape, recorder));
      const attends = spans.filter(({ kind }) => kind === "attend");
      assert.equal(attends.length, ranks * ranks);
      const mask = maskOf(sequences, ranks, variant, causal);
      for (const span of attends) {
        const own = mask.blocks.filter(({ rank, hop }) => rank === span.rank && hop === span.hop);
        assert.equal(
          4 * input.headDim * input.heads * sum(own.map(({ pairs }) => pairs)),
          span.flops,
          `rank ${span.rank}, hop ${span.hop}`,
        );
        assert.ok(own.every(({ owner }) => owner === span.peer));
      }
      const work = mask.pairs.map((pairs) => 4 * input.headDim * input.heads * pairs);
      assert.deepEqual(
        work,
        Array.from(
          { length: ranks },
          (_, rank) => sum(attends.filter((s) => s.rank === rank).map(({ flops }) => flops)),
        ),
      );
    });
  }
}

test("a block has the pairs that the kernels' mask shows, is full if it shows all, and chunks are the shards'", () => {
  const shape = fc.record({
    fresh: fc.integer({ min: 1, max: 40 }),
    cached: fc.integer({ min: 0, max: 40 }),
    ranks: fc.integer({ min: 1, max: 6 }),
    causal: fc.boolean(),
  });
  fc.assert(
    fc.property(shape, ({ fresh, cached, ranks, causal }) => {
      const sequences = [{ new: fresh, cached }];
      const { queries, keys, blocks } = maskOf(sequences, ranks, "pass-kv", causal);
      for (const { query, key, pairs, full } of blocks) {
        const [q, k] = [queries[query], keys[key]];
        assert.equal(pairs, visibility(block(q), block(k), { kind: causal ? "causal" : "full" }).pairs);
        assert.equal(full, pairs > 0 && pairs === (q.end - q.start) * (k.end - k.start));
      }
      const { keys: shards } = shard(sequences, ranks);
      const positions = (ranges: readonly Range[]) =>
        ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)).sort((a, b) =>
          a - b
        );
      shards.forEach(({ runs }, rank) =>
        assert.deepEqual(
          positions(keys.filter(({ owner }) => owner === rank)),
          positions(runs.map(({ start, length }) => ({ start, end: start + length }))),
        )
      );
    }),
    { numRuns: 60 },
  );
});

test("contiguous dealing does the same work, most of it on the last rank; head-tail spreads it", () => {
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const naive = maskOf([{ new: 4096, cached: 0 }], 4, variant, true, "contiguous");
    const balanced = maskOf([{ new: 4096, cached: 0 }], 4, variant, true);
    assert.equal(sum(naive.pairs), sum(balanced.pairs));
    assert.equal(sum(balanced.pairs), (4096 * 4097) / 2);
    const busiest = (pairs: readonly number[]) => (Math.max(...pairs) * 4) / sum(pairs);
    assert.ok(busiest(naive.pairs) > 1.74 && busiest(naive.pairs) < 1.76);
    // Equal pairs of chunks differ by the diagonal alone.
    assert.ok(busiest(balanced.pairs) < 1.001);
    assert.deepEqual(naive.queries.map(({ owner }) => owner), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert.deepEqual(balanced.queries.map(({ owner }) => owner), [0, 1, 2, 3, 3, 2, 1, 0]);
  }
});
