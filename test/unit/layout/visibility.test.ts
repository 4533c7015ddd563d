/** Masks as ranges, against their definitions by absolute position; pairs counted row by row and in closed form. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type Block, DEALINGS, shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { isLocal, type Mask } from "../../../engine/layout/mask.ts";
import { pairsBetween } from "../../../engine/layout/pairs.ts";
import { tilesOf } from "../../../engine/gpu/tiling.ts";

/** (sequence, position) of each row, undefined for padding. */
function rowsOf(b: Block): ({ sequence: number; position: number } | undefined)[] {
  const rows = new Array<{ sequence: number; position: number } | undefined>(b.rows).fill(undefined);
  for (const run of b.runs) {
    for (let i = 0; i < run.length; i++) rows[run.row + i] = { sequence: run.sequence, position: run.start + i };
  }
  return rows;
}

const masks: fc.Arbitrary<Mask> = fc.oneof(
  fc.constantFrom<Mask>({ kind: "causal" }, { kind: "full" }),
  fc.record({
    kind: fc.constantFrom("window" as const, "chunk" as const),
    size: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 100 })),
    sinkTokens: fc.oneof(fc.constant(0), fc.nat(20)),
  }),
);

/** The definition of each mask. */
function sees(mask: Mask, query: number, key: number): boolean {
  if (mask.kind === "full") return true;
  if (key > query) return false;
  if (!isLocal(mask)) return true;
  const near = mask.kind === "window"
    ? query - key < mask.size
    : Math.floor(query / mask.size) === Math.floor(key / mask.size);
  return near || key < (mask.sinkTokens ?? 0);
}

const between = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

const batches = fc.array(fc.record({ new: fc.nat(40), cached: fc.nat(40) }), { minLength: 1, maxLength: 4 });

test("every rank's queries against every rank's keys see what the definition says, padding nothing", () => {
  fc.assert(
    fc.property(
      batches,
      fc.integer({ min: 1, max: 5 }),
      masks,
      fc.constantFrom(...DEALINGS),
      (sequences, ranks, mask, dealing) => {
        const { queries, keys } = shard(sequences, ranks, dealing);
        for (const q of queries) {
          for (const kv of keys) {
            const seen = visibility(q, kv, mask);
            const kvRows = rowsOf(kv);
            let pairs = 0;
            rowsOf(q).forEach((own, row) => {
              const expected = kvRows.flatMap((
                key,
                k,
              ) => (own !== undefined && key !== undefined && key.sequence === own.sequence &&
                  sees(mask, own.position, key.position)
                ? [k]
                : [])
              );
              const found = seen.bands.flatMap((band) => between(band[2 * row], band[2 * row + 1]));
              assert.deepEqual(found, expected);
              pairs += expected.length;
            });
            assert.equal(seen.pairs, pairs);
            assert.equal(pairsBetween(q, kv, mask), pairs);
          }
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("tiles cover every packed row once and reach exactly as far as their rows see", () => {
  fc.assert(
    fc.property(
      batches,
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(1, 4, 8, 48),
      fc.constantFrom(16, 32),
      masks,
      (sequences, ranks, group, tileRows, mask) => {
        const { queries, keys } = shard(sequences, ranks);
        const q = queries[0];
        const seen = visibility(q, keys[ranks - 1], mask);
        const band = seen.bands.at(-1)!;
        const covered = new Map<number, number>();
        for (const { at, rows, first, end } of tilesOf({ views: seen.views, band, group, tileRows })) {
          let [from, to] = [Infinity, 0];
          for (let p = at; p < at + rows; p++) {
            covered.set(p, (covered.get(p) ?? 0) + 1);
            const row = Math.floor(p / group);
            [from, to] = [Math.min(from, band[2 * row]), Math.max(to, band[2 * row + 1])];
          }
          assert.equal(first, from - from % 4, "it begins at the first key that a row sees");
          assert.equal(end, to);
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
