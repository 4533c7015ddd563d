// The files the Remote view reads: recorded runs and the GPU check's document.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import { readSchema } from "../../../cuda-bridge/client/schema.ts";
import { isCheck, readCheck } from "../../../web/views/remote/check-document.ts";
import { measuredRing } from "../../../web/views/remote/terms.ts";
import { MOST_BYTES, NotARun, parse, readRun, type RecordedRun, writeRun } from "../../../web/views/remote/record.ts";
import { passed } from "../../../web/views/remote/verification.ts";
import { repository } from "../../repository.ts";

const complain = await readSchema(() => readFile(repository("cuda-bridge/protocol/messages.schema.json"), "utf8"));
const shippedText = await readFile(repository("web/views/remote/runs/cpu-4-ranks.json"), "utf8");

test("a run survives its file, with infinite errors too", () => {
  const run = readRun(parse(shippedText), complain);
  assert.deepEqual(readRun(parse(writeRun(run)), complain), run);
  const [first, ...rest] = run.laps[0].verification!.rows;
  const off = {
    ...run,
    laps: [{
      ...run.laps[0],
      verification: { ...run.laps[0].verification!, rows: [{ ...first, out: Infinity, pass: false }, ...rest] },
    }],
  };
  assert.deepEqual(readRun(parse(writeRun(off)), complain), off);
});

test("the shipped run is real: its provenance, its spans of four ranks, and rows that all pass", () => {
  const { facts, experiment, laps, provenance } = readRun(parse(shippedText), complain);
  assert.ok(Date.parse(provenance.date) > Date.parse("2026-11-01"));
  assert.deepEqual([facts.backend, facts.processes, facts.devices.every(({ kind }) => kind === "cpu"), experiment.N], [
    "gloo",
    4,
    true,
    4,
  ]);
  assert.deepEqual(laps.map(({ variant }) => variant), ["pass-kv", "pass-q"]);
  for (const { spans, verification, variant } of laps) {
    assert.equal(
      new Set(spans.filter(({ kind }) => kind === "attend").map(({ rank, hop }) => `${rank} ${hop}`)).size,
      16,
      variant,
    );
    assert.ok(passed(verification!), variant);
    const measured = measuredRing(spans, 4);
    assert.ok(measured.attention! > 0 && measured.whole! >= measured.attention! && measured.rate! > 1e8, variant);
  }
  assert.ok(laps[1].spans.some(({ kind }) => kind === "all2all"));
  assert.ok(shippedText.length < 150_000, `${shippedText.length} bytes`);
});

test("a file of another format is refused with the place, what was found and what was expected", () => {
  const run = readRun(parse(shippedText), complain);
  const refused = (change: (file: Record<string, never> & RecordedRun) => void, message: RegExp) => {
    const file = structuredClone(run);
    change(file as never);
    assert.throws(
      () => readRun(JSON.parse(JSON.stringify(file)), complain),
      (error: unknown) => error instanceof NotARun && message.test(error.message) || assert.fail(String(error)),
    );
  };
  assert.throws(() => parse("{"), /found no JSON .* expected a run saved by the Remote view/);
  assert.throws(() => parse(" ".repeat(MOST_BYTES + 1)), /the file, bytes: found 32000001, expected at most/);
  assert.throws(() => readRun([], complain), /the file: found \[\], expected an object/);
  const any = (file: unknown) => file as Record<string, never>;
  refused((file) => (any(file).format = "other" as never), /^format: found "other", expected "ringside-remote-run"/);
  refused((file) => (any(file).version = 2 as never), /^version: found 2, expected 1/);
  refused((file) => (any(file.provenance).date = "yesterday" as never), /^provenance.date: found "yesterday"/);
  refused((file) => (any(file.facts).processes = "many" as never), /^facts, as the bridge's messages have it: /);
  refused((file) => (any(file.experiment).T = -1 as never), /^experiment.T: found -1/);
  refused((file) => (any(file.experiment).dtype = "int4" as never), /^experiment: Type: found int4/);
  refused((file) => (any(file).laps = [] as never), /^laps, length: found 0/);
  refused((file) => (any(file.laps[1]).variant = "pass-kv" as never), /^laps\[1\]\.variant/);
  refused(
    (file) => (any(file.laps[0].spans[3]).kind = "idle" as never),
    /^laps\[0\]\.spans from 0, as the bridge's messages have it/,
  );
  refused(
    (file) => (any(file.laps[0].spans[3]).rank = 4 as never),
    /^laps\[0\]\.spans\[3\]\.rank: found 4, expected a rank below 4/,
  );
  refused(
    (file) => (any(file.laps[0].verification!.rows[2]).token = 1e9 as never),
    /rows\[2\]\.token: found 1000000000/,
  );
  refused((file) => (any(file.laps[0].verification).of = 1 as never), /verification\.of: found 1, expected at least/);
});

test("damaged files are read or refused, without another error", () => {
  const paths = [...shippedText.matchAll(/"(\w+)":/g)];
  fc.assert(
    fc.property(fc.nat({ max: paths.length - 1 }), fc.jsonValue(), (i, value) => {
      const { index, 0: key } = paths[i];
      const damaged = `${shippedText.slice(0, index)}${key} ${JSON.stringify(value)}, "was${key.slice(1)}${
        shippedText.slice(index + key.length)
      }`;
      try {
        readRun(parse(damaged), complain);
      } catch (error) {
        assert.ok(error instanceof NotARun, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test("the shipped GPU check ran on a GPU, met its bars, and says what it left out", async () => {
  const check = readCheck(
    parse(await readFile(repository("cuda-bridge/results/h200.json"), "utf8")) as Record<string, unknown>,
    complain,
  );
  assert.deepEqual([check.gpu, check.facts.devices.map(({ name }) => name), check.bars.map(({ passed: met }) => met)], [
    true,
    ["NVIDIA H200"],
    [true, true, true],
  ]);
  assert.equal(check.skipped.length, 2);
});

test("the GPU check's document is read within bounds, and says whether it ran on a GPU", () => {
  const { facts: machine } = readRun(parse(shippedText), complain);
  const document = {
    what: "ringside_worker.gpu_check",
    version: 1,
    date: "2026-11-23T04:00:00+00:00",
    ranOnGpu: false,
    note: "not run on a GPU",
    machine,
    bars: [{ name: "ring at N = 8", sense: "at most", bar: 1.03, found: 1.01, passed: true }, {
      name: "rate",
      sense: "at least",
      bar: 0.7,
      found: null,
      passed: null,
      why: "not run on a GPU",
    }],
    ceilings: {
      product: { n: 8192, dtype: "bf16", seconds: 0.0015, rate: 7e14 },
      copy: { bytes: 1e9, seconds: 0.001, rate: 2e12 },
    },
    attention: [{
      tokens: 128_000,
      flops: 6.7e13,
      single: { seconds: 0.12, rate: 5.6e14, error: 1e-3 },
      rings: [{ ranks: 8, deviceSeconds: 0.121, ofSingle: 1.0083, error: 2e-3 }],
    }],
    passQ: [{
      new: 1280,
      cached: 126_720,
      ranks: 4,
      "pass-kv": { seconds: 0.002 },
      "pass-q": { seconds: 0.001 },
      faster: "pass-q",
      paper: { faster: "pass-q" },
    }],
    decode: [{ context: 128_000, batch: 1, ranks: 1, op: 42.79e-6, paper: { op: 38.9e-6 } }],
    layer: [{ tokens: 128_000, ranks: 4, layerSeconds: 0.09, ttft: 11, paper: 10.95 }],
    skipped: [{ what: "1M", why: "the time budget" }],
  };
  assert.ok(isCheck(document) && !isCheck({ what: "other" }) && !isCheck(null));
  const read = readCheck({ ...document, ranOnGpu: true }, complain);
  const without = readCheck(document, complain);
  assert.deepEqual([
    without.gpu,
    without.figures.flatMap(({ name, rows }) => (/Table/.test(name) ? rows.map((row) => row.slice(-2)) : [])),
  ], [false, [["pass-Q", "–"], ["–", "–"]]]);
  assert.deepEqual([read.gpu, read.facts, read.bars.map(({ passed: met, why }) => [met, why]), read.skipped], [
    true,
    machine,
    [[true, ""], [undefined, "not run on a GPU"]],
    ["1M: the time budget"],
  ]);
  assert.deepEqual(read.figures.map(({ name, rows }) => [name, ...rows.map((row) => row.join(" | "))]), [
    ["Ceilings", "Matrix product, bf16 | 8,192³ | 1.50 ms | 700 TFLOP/s", "Copy | 1.00 GB | 1.00 ms | 2.00 TB/s"],
    [
      "Attention of 128,000 tokens",
      "One kernel call | 120 ms | 560 TFLOP/s | 1 | 1.0e-3",
      "Ring, N = 8 | 121 ms | 554 TFLOP/s | 1.008 | 2.0e-3",
    ],
    ["Both variants at the miss rates of Table 4", "1,280 | 126,720 | 4 | 2.00 ms | 1.00 ms | pass-Q | pass-Q"],
    ["Decode of Table 8: one attention op", "128,000 | 1 | 1 | 42.8 µs | 38.9 µs | +10.0 %"],
    ["Layer mode, and the TTFT that follows", "128,000 | 4 | 90.0 ms | 11.0 s | 10.9 s | +0.5 %"],
  ]);
  assert.throws(() => readCheck({ ...document, version: 2 }, complain), /version: found 2/);
  assert.throws(() => readCheck({ ...document, machine: {} }, complain), /machine, as the bridge's messages have it/);
  fc.assert(
    fc.property(
      fc.constantFrom("bars", "ceilings", "attention", "passQ", "decode", "layer", "skipped", "date", "note"),
      fc.jsonValue(),
      (key, value) => {
        const { figures, bars } = readCheck({ ...document, [key]: value }, complain);
        assert.ok(figures.length <= 300 && bars.length <= 200);
      },
    ),
  );
});
