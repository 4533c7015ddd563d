/**
 * Blocks cut into row ranges: every row once and in order, every token at its position, no slice above the limit.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import test from "node:test";
import { bySequence, shard } from "../../../engine/layout/shards.ts";
import { cut, longest } from "../../../engine/layout/slices.ts";

test("a block that fits stays the same object", () => {
  for (const block of [...shard([{ new: 7, cached: 2 }], 2).keys, { runs: [], rows: 0 }, { runs: [], rows: 3 }]) {
    const slices = cut(block, 8, { step: 4 });
    assert.deepEqual([slices.length, slices[0].from, slices[0].to], [1, 0, block.rows]);
    assert.equal(slices[0].block, block);
  }
});

test("any batch, any size: slices follow one another, and count no more rows than they may", () => {
  const batch = fc.array(fc.record({ new: fc.integer({ min: 0, max: 20 }), cached: fc.integer({ min: 0, max: 9 }) }), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(
      batch,
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(1, 4),
      fc.integer({ min: 1, max: 24 }),
      fc.integer({ min: 1, max: 24 }),
      (sequences, ranks, step, some, few) => {
        const most = some + step - 1;
        const singles = Math.min(few, most);
        for (const block of [...shard(sequences, ranks).queries, ...shard(sequences, ranks).keys]) {
          const slices = cut(block, most, step === 1 ? { singles } : { step });
          assert.deepEqual(slices.map(({ from }) => from), [0, ...slices.slice(0, -1).map(({ to }) => to)]);
          assert.equal(slices.at(-1)!.to, block.rows);
          const tokens = (from: number, { runs }: typeof block) =>
            runs.flatMap(({ sequence, start, length, row }) =>
              Array.from({ length }, (_, i) => [sequence, start + i, from + row + i])
            );
          assert.deepEqual(
            slices.flatMap(({ from, block: own }) => tokens(from, own)),
            tokens(0, block),
          );
          for (const { from, to, block: own } of slices) {
            assert.equal(own.rows, to - from);
            const counts = [...bySequence(own).values()].map((runs) =>
              runs.reduce((sum, { length }) => sum + length, 0)
            );
            const counted = counts.reduce((sum, count) => sum + Math.ceil(count / step) * step, 0);
            assert.ok(counted <= most && (step > 1 || own.rows <= most), `${counted} of ${most}`);
            if (step === 1 && counts.length > 0 && counts.every((count) => count === 1)) {
              assert.ok(
                own.rows <= singles,
                `${own.rows} rows of single tokens, expected ${singles}`,
              );
            }
          }
          if (slices.length === 1) assert.equal(slices[0].block, block);
          assert.ok(
            longest(block) >= Math.max(
              0,
              ...[...bySequence(block).values()].map((runs) => runs.reduce((sum, { length }) => sum + length, 0)),
            ),
          );
        }
      },
    ),
  );
});

test("no room for a row is an error", () =>
  assert.throws(() => cut({ runs: [], rows: 3 }, 3, { step: 4 }), /found room for 0 rows, expected at least 4/));
