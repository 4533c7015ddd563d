// The page's experiment: typed text and addresses are read, written and checked in the same way.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  defaults,
  type Draft,
  draftOf,
  type Experiment,
  type Field,
  fromQuery,
  read,
  same,
  sizeOf,
  tidy,
  toQuery,
} from "../../../web/lib/experiment/experiment.ts";
import type { Mask } from "../../../web/engine/run.ts";
import { parseCount, parseRate, parseSeconds } from "../../../web/lib/format/quantity.ts";
import { CHECK_BUDGET, rowsToCheck } from "../../../web/lib/experiment/rows.ts";

const experiments: fc.Arbitrary<Experiment> = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  T: fc.integer({ min: 1, max: 4096 }),
  P: fc.integer({ min: 0, max: 4096 }),
  Hkv: fc.integer({ min: 1, max: 8 }),
  H: fc.integer({ min: 1, max: 8 }),
  D: fc.integer({ min: 4, max: 64 }).map((d) => 4 * d),
  N: fc.integer({ min: 1, max: 32 }),
  variant: fc.constantFrom("pass-kv", "pass-q"),
  wire: fc.constantFrom("f32", "f16", "bf16"),
  link: fc.option(
    fc.record({
      bandwidth: fc.integer({ min: 1, max: 1e9 }).map((n) => n * 1e3),
      latency: fc.integer({ min: 0, max: 1e6 }).map((us) => us / 1e6),
    }, { noNullPrototype: true }),
  ),
  mask: fc.oneof(
    fc.constantFrom<Mask>({ kind: "causal" }, { kind: "full" }),
    fc.record({
      kind: fc.constantFrom("window" as const, "chunk" as const),
      size: fc.integer({ min: 1, max: 2 ** 28 }),
      sinkTokens: fc.integer({ min: 0, max: 2 ** 28 }),
    }, { noNullPrototype: true }).map(({ sinkTokens, ...mask }): Mask =>
      sinkTokens > 0 ? { ...mask, sinkTokens } : mask
    ),
  ),
  dealing: fc.constantFrom("head-tail", "contiguous"),
  backend: fc.constantFrom("webgpu", "cpu"),
  offGrid: fc.constantFrom(undefined, true as const),
}, { noNullPrototype: true }).map(({ offGrid, ...e }) => (offGrid ? { ...e, offGrid } : e)).map((e) => ({
  ...e,
  H: e.H * e.Hkv,
}));

test("an experiment survives its address and its sentence", () => {
  fc.assert(fc.property(experiments, (experiment) => {
    assert.deepEqual(read(draftOf(experiment)).experiment, experiment);
    assert.deepEqual(read(fromQuery(toQuery(experiment))).experiment, experiment);
    assert.equal(same(experiment, read(fromQuery(`?${toQuery(experiment)}`)).experiment), true);
  }));
});

test("an empty address is the default experiment", () => {
  assert.deepEqual(read(fromQuery("")).experiment, defaults);
});

test("each wrong field is named with what was found and what is expected", () => {
  const wrong = (change: Partial<Record<Field, string>>) =>
    Object.fromEntries(read({ ...draftOf(defaults), ...change } as Draft).problems);
  assert.deepEqual(wrong({ N: "0" }), { N: "Ranks N: found 0, expected a whole number from 1 to 32." });
  assert.deepEqual(wrong({ T: "" }), {
    T: "New tokens T: found nothing, expected a whole number from 1 to 268,435,456.",
  });
  assert.deepEqual(wrong({ T: "1.5" }), {
    T: "New tokens T: found 1.5, expected a whole number from 1 to 268,435,456.",
  });
  assert.deepEqual(wrong({ H: "7" }), { H: "Query heads H: found 7, expected a multiple of the 2 KV heads." });
  assert.deepEqual(wrong({ D: "66" }), { D: "Head dimension D: found 66, expected a multiple of 4, such as 68." });
  assert.deepEqual(wrong({ D: "580" }), { D: "Head dimension D: found 580, expected a multiple of 4 from 16 to 576." });
  assert.deepEqual(wrong({ bandwidth: "0" }), {
    bandwidth: "Link bandwidth: found 0, expected a rate such as 50 GB/s, or off.",
  });
  assert.deepEqual(wrong({ latency: "-1 s" }), {
    latency: "Link latency: found -1 s, expected a time such as 5 µs, at most 10 s.",
  });
  assert.deepEqual(wrong({ wire: "f8" }), { wire: "Wire type: found f8, expected f32 or f16 or bf16." });
  assert.deepEqual(wrong({ variant: "toString" }), { variant: "Variant: found toString, expected pass-q or pass-kv." });
  assert.match(wrong({ T: "1,000,000" }).T, /expected at most 524,288 tokens of 8 × 64/);
  assert.match(wrong({ P: "9,000,000" }).P, /expected at most 2,096,640 tokens of 2 × 64/);
  assert.deepEqual(wrong({ mask: "window", size: "0" }), {
    size: "Size of window or chunk: found 0, expected a whole number from 1 to 268,435,456.",
  });
  assert.deepEqual(wrong({ mask: "chunk", sinkTokens: "-1" }), {
    sinkTokens: "Sink tokens: found -1, expected a whole number from 0 to 268,435,456.",
  });
  assert.deepEqual(wrong({ mask: "full", size: "", sinkTokens: "x" }), {});
  assert.deepEqual(wrong({ dealing: "striped" }), {
    dealing: "Dealing: found striped, expected head-tail or contiguous.",
  });
  assert.deepEqual(Object.keys(wrong({ backend: "gpu", N: "x", bandwidth: "x" })), ["N", "bandwidth", "backend"]);
});

test("an address says the mask as the command line does; older ones say causal", () => {
  const maskOf = (query: string) => read(fromQuery(query)).experiment?.mask;
  assert.deepEqual(maskOf("?causal=0"), { kind: "full" });
  assert.deepEqual(maskOf("?causal=1"), { kind: "causal" });
  assert.deepEqual(maskOf("?mask=full&causal=1"), { kind: "full" });
  assert.deepEqual(maskOf("?mask=0"), { kind: "causal" }, "an older address of the Remote view");
  assert.deepEqual(maskOf("?mask=window:64"), { kind: "window", size: 64 });
  for (const query of ["?mask=chunk:64%2B4", "?mask=chunk:64+4"]) {
    assert.deepEqual(maskOf(query), { kind: "chunk", size: 64, sinkTokens: 4 });
  }
  const found = (query: string) => Object.fromEntries(read(fromQuery(query)).problems);
  const expected = "expected causal, full, window:256 or chunk:256.";
  assert.deepEqual(found("?mask=window:0"), { mask: `Mask: found window:0, ${expected}` });
  assert.deepEqual(found("?causal=yes"), { mask: `Mask: found yes, ${expected}` });
  assert.match(toQuery({ ...defaults, mask: { kind: "window", size: 64 } }), /&mask=window:64&/);
  assert.match(toQuery({ ...defaults, dealing: "contiguous" }), /&dealing=contiguous$/);
});

test("quantities are read with their units and written back the same", () => {
  assert.equal(parseCount("1,536"), 1536);
  assert.equal(parseCount("1 536"), 1536);
  assert.equal(parseCount("1e3"), 1000);
  for (const text of ["128k", "128K", "128_000", "128,000", "128 000", "128 k", "0.128M", "1.28e5"]) {
    assert.equal(parseCount(text), 128_000, text);
  }
  assert.equal(parseCount("128Ki"), 131_072);
  for (const text of ["12 apples", "-1", "1.5", "0.5k1", "", "k", "1__0"]) {
    assert.equal(Number.isNaN(parseCount(text)), true, text);
  }
  assert.equal(parseRate("50 GB/s"), 50e9);
  assert.equal(parseRate("400 Gbit/s"), 50e9);
  assert.equal(parseRate("400Gb/s"), 50e9);
  assert.equal(parseRate("5e10"), 50e9);
  for (const text of ["1Gbps", "1 Gbit/s", "125MB/s", "125 MBps", "125_000 kB/s", "125,000,000", "0.125G"]) {
    assert.equal(parseRate(text), 1.25e8, text);
  }
  assert.equal(Number.isNaN(parseRate("50 g/s")), true);
  assert.equal(parseSeconds("5 µs"), 5e-6);
  assert.equal(parseSeconds("5 μs"), 5e-6); // Greek mu, as some keyboards have it
  assert.equal(parseSeconds("5us"), 5e-6);
  assert.equal(parseSeconds("1.5 ms"), 1.5e-3);
  assert.equal(tidy("bandwidth", "400 Gbit/s"), "50 GB/s");
  assert.equal(tidy("latency", "0.000005"), "5 µs");
  assert.equal(tidy("T", "12x"), "12x");
});

test("the size of an experiment counts the pairs inside the mask", () => {
  const { pairs, flops, missRate } = sizeOf({ ...defaults, T: 3, P: 2, H: 2, D: 16 });
  assert.equal(pairs, 3 + 4 + 5);
  assert.equal(flops, 4 * 16 * 2 * 12);
  assert.equal(missRate, 3 / 5);
  assert.equal(sizeOf({ ...defaults, T: 3, P: 2, mask: { kind: "full" } }).pairs, 15);
  assert.equal(sizeOf({ ...defaults, T: 3, P: 2, mask: { kind: "window", size: 2 } }).pairs, 6);
});

test("the check takes all rows where they fit its budget, else evenly spaced ones with both ends", () => {
  assert.deepEqual(rowsToCheck({ ...defaults, T: 5 }), [0, 1, 2, 3, 4]);
  const large = { ...defaults, T: 100_000, P: 0 };
  const rows = rowsToCheck(large);
  assert.equal(rows[0], 0);
  assert.equal(rows.at(-1), 99_999);
  assert.equal(new Set(rows).size, rows.length);
  assert.ok(rows.length * (sizeOf(large).flops / large.T) <= CHECK_BUDGET * 1.01);
});
