/** Seeded inputs: the numbers themselves, their spread, exactness, and rows in isolation. */
import assert from "node:assert/strict";
import test from "node:test";
import { fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { seededRows, type SeededTensor } from "../../../engine/tensor/seeded.ts";

/** Columns 0, 1, 2, 3 and 127 of a row in 32nds, from a port of the recipe to Python's integers. */
const GOLDEN: readonly [number, SeededTensor, number, readonly number[]][] = [
  [0, "q", 0, [-80, -27, 43, -77, 30]],
  [0, "k", 0, [-47, -8, 63, -49, -62]],
  [0, "v", 0, [8, -51, 39, -67, 66]],
  [42, "q", 7, [-6, 22, 66, 26, 16]],
  [2 ** 32 - 1, "v", 1048575, [21, -23, -43, 1, -17]],
  [7, "k", 2 ** 32 - 1, [44, -25, 41, 34, 36]],
];

test("golden values", () => {
  for (const [seed, tensor, row, values] of GOLDEN) {
    const found = seededRows(seed, tensor, row, 1, 128);
    assert.deepEqual([0, 1, 2, 3, 127].map((c) => found[c] * 32), values, `seed ${seed}, ${tensor}, row ${row}`);
  }
});

test("a row is the same alone and in any slice", () => {
  const all = seededRows(3, "k", 100, 20, 24);
  for (let r = 0; r < 20; r++) assert.deepEqual(seededRows(3, "k", 100 + r, 1, 24), all.slice(r * 24, (r + 1) * 24));
  assert.deepEqual(seededRows(3, "k", 105, 3, 24), all.slice(5 * 24, 8 * 24));
  assert.deepEqual(seededRows(3, "k", 100, 1, 10), all.slice(0, 10));
  assert.equal(seededRows(3, "k", 2 ** 32, 0, 24).length, 0);
});

test("mean 0, standard deviation 1.155, within +-4, exact in bf16 and f16", () => {
  for (const tensor of ["q", "k", "v"] as const) {
    const x = seededRows(1, tensor, 0, 1024, 256);
    const mean = x.reduce((sum, a) => sum + a, 0) / x.length;
    const std = Math.sqrt(x.reduce((sum, a) => sum + a * a, 0) / x.length - mean * mean);
    assert.ok(Math.abs(mean) < 0.01, `mean ${mean}`); // 4.4 standard errors
    assert.ok(Math.abs(std - Math.sqrt(4 / 3)) < 0.01, `std ${std}`);
    assert.ok(x.every((a) => Math.abs(a) < 4));
    for (const dtype of ["bf16", "f16"] as const) assert.deepEqual(fromBytes(toBytes(x, dtype), dtype), x);
  }
});

test("rows, tensors, seeds and columns do not resemble each other", () => {
  const row = (seed: number, tensor: SeededTensor, r: number) => seededRows(seed, tensor, r, 1, 4096);
  const base = row(1, "q", 0);
  const others = [
    row(1, "k", 0),
    row(1, "v", 0),
    row(2, "q", 0),
    row(1, "q", 1),
    row(1, "q", 2 ** 31),
    row(2 ** 31 + 1, "q", 0),
    base.map((_, i) => base[i ^ 1]),
    base.map((_, i) => base[(i + 1) % 4096]),
  ];
  for (const other of others) {
    const correlation = base.reduce((sum, a, i) => sum + a * other[i], 0) / 4096 / (4 / 3);
    assert.ok(Math.abs(correlation) < 0.08, `${correlation}`); // 5 standard errors of 1/64
  }
});

test("no two of 65,536 rows are equal", () => {
  const x = seededRows(5, "q", 0, 65536, 8);
  const rows = new Set(Array.from({ length: 65536 }, (_, r) => x.subarray(r * 8, r * 8 + 8).join()));
  assert.equal(rows.size, 65536);
});

test("rejects numbers beyond u32", () => {
  for (
    const [seed, first, rows, columns] of [
      [-1, 0, 1, 1],
      [2 ** 32, 0, 1, 1],
      [0.5, 0, 1, 1],
      [NaN, 0, 1, 1],
      [0, -1, 1, 1],
      [0, 2 ** 32, 1, 1],
      [0, 0, 1.5, 1],
      [0, 0, 1, -1],
    ]
  ) {
    assert.throws(() => seededRows(seed, "q", first, rows, columns), {
      name: "InputError",
      message: /seeded inputs: (seed|firstRow|rows|columns): found .*, expected a whole number of 0 to /,
    });
  }
});
