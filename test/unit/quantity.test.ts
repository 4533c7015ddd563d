/** Counts and rates as people write them. */
import assert from "node:assert/strict";
import test from "node:test";
import { readCount, readRate } from "../../engine/quantity.ts";

test("counts: plain, with separators, decimal and binary multiples", () => {
  for (
    const [text, value] of [
      ["128000", 128_000],
      ["128k", 128_000],
      ["128K", 128_000],
      ["128_000", 128_000],
      ["128Ki", 131_072],
      ["1.1k", 1100],
      ["1.5M", 1.5e6],
      ["5e7", 5e7],
      [" 42 ", 42],
      ["-3", -3],
      [".5", 0.5],
      ["0", 0],
    ] as const
  ) {
    assert.equal(readCount(text), value, text);
  }
  for (
    const text of [
      "",
      "k",
      "128kk",
      "128 000",
      "1__0",
      "_1",
      "1_",
      "0x10",
      "Infinity",
      "NaN",
      "1e999",
      "1Gbps",
      "12 tokens",
    ]
  ) assert.equal(readCount(text), undefined, text);
});

test("rates: bytes or bits a second; a bare number is bytes", () => {
  for (
    const [text, value] of [
      ["5e7", 5e7],
      ["50GB/s", 5e10],
      ["50 GB/s", 5e10],
      ["1Gbps", 1.25e8],
      ["400Gb/s", 5e10],
      ["8bps", 1],
      ["2GiB/s", 2 * 2 ** 30],
      ["1MBps", 1e6],
      ["1gbps", 1.25e8],
      ["400 mbit/s", 5e7],
      ["2tB/s", 2e12],
    ] as const
  ) assert.equal(readRate(text), value, text);
  for (const text of ["", "GB/s", "1GB", "1e999B/s", "1Gbs", "50gb/s", "1giB/s", "1GBPS", "fast"]) {
    assert.equal(readRate(text), undefined, text);
  }
});
