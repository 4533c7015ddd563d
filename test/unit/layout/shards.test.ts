/** Head-tail sharding against the fixed vectors of other projects, and its invariants. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type Block, chunks, count, headTail, shard, tokens } from "../../../engine/layout/shards.ts";

const positions = (b: Block, sequence = 0) =>
  b.runs.filter((r) => r.sequence === sequence).flatMap((r) => Array.from({ length: r.length }, (_, i) => r.start + i));

test("8 tokens over 2 ranks: rank 0 [0,1,6,7], rank 1 [2,3,4,5] (TransformerEngine)", () => {
  const { queries } = shard([{ new: 8, cached: 0 }], 2);
  assert.deepEqual(queries.map((b) => positions(b)), [[0, 1, 6, 7], [2, 3, 4, 5]]);
});

test("two fused sequences of 8 over 2 ranks (TransformerEngine, cu_seqlens [0,8,16])", () => {
  const { queries } = shard([{ new: 8, cached: 0 }, { new: 8, cached: 0 }], 2);
  const fused = queries.map((b) => [...positions(b, 0), ...positions(b, 1).map((p) => p + 8)]);
  assert.deepEqual(fused, [[0, 1, 6, 7, 8, 9, 14, 15], [2, 3, 4, 5, 10, 11, 12, 13]]);
});

test("8 tokens, then 8 more: rank 0 gets [0,1,6,7], then [8,9,14,15] (vLLM, the paper's Fig. 2)", () => {
  const { queries, keys } = shard([{ new: 8, cached: 8 }], 2);
  assert.deepEqual(positions(queries[0]), [8, 9, 14, 15]);
  assert.deepEqual(positions(keys[0]), [0, 1, 6, 7, 8, 9, 14, 15]);
  assert.deepEqual(positions(keys[1]), [2, 3, 4, 5, 10, 11, 12, 13]);
});

test("any length over any ranks: every token once, ranks differ by at most one, none above ceil(length / N)", () => {
  fc.assert(fc.property(fc.nat(500), fc.integer({ min: 1, max: 16 }), fc.nat(100), (length, ranks, offset) => {
    const all = chunks(length, ranks, offset);
    assert.equal(all.length, 2 * ranks);
    const held = Array.from({ length: ranks }, (_, k) => headTail(length, ranks, k, offset));
    const seen = held.flat().flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)).sort(
      (a, b) => a - b,
    );
    assert.deepEqual(seen, Array.from({ length }, (_, i) => offset + i));
    const sizes = held.map(count);
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    assert.ok(Math.max(...sizes) <= Math.ceil(length / ranks));
  }));
});

test("blocks of a kind have equal rows, which are L_i = max over ranks, summed over sequences", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ new: fc.nat(60), cached: fc.nat(60) }), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 8 }),
      (sequences, ranks) => {
        const { queries, keys } = shard(sequences, ranks);
        for (const blocks of [queries, keys]) {
          assert.equal(new Set(blocks.map((b) => b.rows)).size, 1);
          const rows = sequences.reduce((sum, _, i) => sum + Math.max(...blocks.map((b) => positions(b, i).length)), 0);
          assert.equal(blocks[0].rows, rows);
        }
        assert.equal(queries.reduce((sum, b) => sum + tokens(b), 0), sequences.reduce((sum, s) => sum + s.new, 0));
        assert.equal(
          keys.reduce((sum, b) => sum + tokens(b), 0),
          sequences.reduce((sum, s) => sum + s.new + s.cached, 0),
        );
      },
    ),
  );
});

test("fewer than 1 rank is refused", () => {
  assert.throws(() => shard([{ new: 8, cached: 0 }], 0), /ranks: found 0/);
});
