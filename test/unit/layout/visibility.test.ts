/** The mask as ranges, against the definition: a query sees the keys of its sequence at positions up to its own. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type Block, shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { tilesOf } from "../../../engine/gpu/tiling.ts";

/** (sequence, position) of each row, undefined for padding. */
function rowsOf(b: Block): ({ sequence: number; position: number } | undefined)[] {
  const rows = new Array<{ sequence: number; position: number } | undefined>(b.rows).fill(undefined);
  for (const run of b.runs) {
    for (let i = 0; i < run.length; i++) rows[run.row + i] = { sequence: run.sequence, position: run.start + i };
  }
  return rows;
}

const batches = fc.array(fc.record({ new: fc.nat(40), cached: fc.nat(40) }), { minLength: 1, maxLength: 4 });

test("every rank's queries against every rank's keys see what the definition says, padding nothing", () => {
  fc.assert(
    fc.property(batches, fc.integer({ min: 1, max: 5 }), fc.boolean(), (sequences, ranks, causal) => {
      const { queries, keys } = shard(sequences, ranks);
      for (const q of queries) {
        for (const kv of keys) {
          const seen = visibility(q, kv, causal);
          const kvRows = rowsOf(kv);
          let pairs = 0;
          const firsts = new Map<number, number>();
          for (const view of seen.views) for (let i = 0; i < view.rows; i++) firsts.set(view.row + i, view.first);
          rowsOf(q).forEach((own, row) => {
            const expected = kvRows.flatMap((
              key,
              k,
            ) => (own !== undefined && key !== undefined && key.sequence === own.sequence &&
                (!causal || key.position <= own.position)
              ? [k]
              : [])
            );
            const first = firsts.get(row) ?? 0;
            const found = own === undefined ? [] : Array.from({ length: seen.ends[row] - first }, (_, i) => first + i);
            assert.deepEqual(found, expected);
            pairs += expected.length;
          });
          assert.equal(seen.pairs, pairs);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("tiles cover every packed row once and reach exactly as far as their rows see", () => {
  fc.assert(
    fc.property(
      batches,
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(1, 4, 8, 48),
      fc.constantFrom(16, 32),
      (sequences, ranks, group, tileRows) => {
        const { queries, keys } = shard(sequences, ranks);
        const q = queries[0];
        const seen = visibility(q, keys[ranks - 1], true);
        const { words, count } = tilesOf({ seen, group, tileRows });
        assert.equal(words.length, 4 * count);
        const covered = new Map<number, number>();
        for (let t = 0; t < words.length; t += 4) {
          const [at, rows, first, end] = words.subarray(t, t + 4);
          let reach = first;
          for (let p = at; p < at + rows; p++) {
            covered.set(p, (covered.get(p) ?? 0) + 1);
            reach = Math.max(reach, seen.ends[Math.floor(p / group)]);
          }
          assert.equal(end, reach);
        }
        const expected = q.runs.flatMap((r) => Array.from({ length: r.length * group }, (_, i) => r.row * group + i));
        assert.deepEqual(
          [...covered.keys()].sort((a, b) => a - b),
          expected.sort((a, b) => a - b),
        );
        assert.ok([...covered.values()].every((n) => n === 1));
      },
    ),
    { numRuns: 60 },
  );
});
