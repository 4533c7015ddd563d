/**
 * The seeded numbers in the native worker's tests (cuda-bridge/worker/tests/seeded.json) are this engine's.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { seededRows, type SeededTensor } from "../../../engine/tensor/seeded.ts";

/** Rows `first` .. of a tensor, each a list of its columns in 32nds. */
interface Vector {
  readonly seed: number;
  readonly tensor: SeededTensor;
  readonly first: number;
  readonly columns: number;
  readonly rows: readonly (readonly number[])[];
}

test("the worker's seeded vectors", () => {
  const vectors = JSON.parse(readFileSync("cuda-bridge/worker/tests/seeded.json", "utf8")) as Vector[];
  assert.ok(vectors.length >= 9);
  for (const { seed, tensor, first, columns, rows } of vectors) {
    const found = seededRows(seed, tensor, first, rows.length, columns);
    assert.deepEqual(
      rows,
      rows.map((_, r) => [...found.slice(r * columns, (r + 1) * columns)].map((x) => x * 32)),
      `seed ${seed}, ${tensor}, row ${first}`,
    );
  }
});
