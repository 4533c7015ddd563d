/** Pages of a cache: growth moves nothing, a step can be undone, and rows that don't fit change nothing. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { LimitError } from "../../../engine/errors.ts";
import { PAGE, Pages } from "../../../engine/layout/pages.ts";

const state = (pages: Pages) =>
  JSON.stringify(pages.sequences.sort((a, b) => a - b).map((s) => [s, pages.ranges(s), pages.segments(s)])) +
  pages.used;

test("rows keep their places as a sequence grows", () => {
  const pages = new Pages(8);
  pages.append(3, [{ start: 0, end: 50 }]);
  const before = pages.segments(3);
  pages.append(3, [{ start: 50, end: 200 }]);
  assert.deepEqual(pages.segments(3)[0].row, before[0].row);
  assert.equal(pages.used, Math.ceil(200 / PAGE));
});

test("any appends can be undone, and then everything is as before", () => {
  const appends = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 150 })), { maxLength: 8 });
  fc.assert(fc.property(appends, appends, (kept, undone) => {
    const pages = new Pages(40);
    const at = new Map<number, number>();
    const append = (s: number, n: number) => {
      const from = at.get(s) ?? 0;
      try {
        pages.append(s, [{ start: from, end: from + n }]);
        at.set(s, from + n);
      } catch (error) {
        assert.ok(error instanceof LimitError);
      }
    };
    for (const [s, n] of kept) append(s, n);
    const before = state(pages);
    pages.begin();
    for (const [s, n] of undone) append(s, n);
    pages.rollback();
    assert.equal(state(pages), before);
    const rows = pages.sequences.flatMap((s) =>
      pages.segments(s).flatMap(({ row, count }) => Array.from({ length: count }, (_, i) => row + i))
    );
    assert.equal(new Set(rows).size, rows.length, "two rows share a place");
  }));
});

test("rows that don't fit are rejected before anything changes, with have and need", () => {
  const pages = new Pages(2);
  pages.append(0, [{ start: 0, end: 100 }]);
  const before = state(pages);
  assert.throws(
    () => pages.append(1, [{ start: 0, end: 1 }]),
    (error) => error instanceof LimitError && error.have === 0 && error.need === 1,
  );
  assert.equal(state(pages), before);
  pages.drop(0);
  assert.equal(pages.used, 0);
});
