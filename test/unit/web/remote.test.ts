// The Remote view without a screen: its address, the comparison with planner and paper, files of recorded runs, and
// what is told of errors.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import { readSchema } from "../../../cuda-bridge/client/schema.ts";
import { findModel, plan } from "../../../engine/plan/index.ts";
import { readAddress, startCommand } from "../../../web/views/remote/address.ts";
import { apart, sayApart } from "../../../web/views/remote/apart.ts";
import { isCheck, readCheck } from "../../../web/views/remote/check-document.ts";
import {
  clusterOf,
  compareAttention,
  compareLayer,
  type Figure,
  measuredRing,
  modelOf,
  nearest,
  planOf,
  printedRing,
  printedTtft,
} from "../../../web/views/remote/terms.ts";
import { connectionFailure, lostFailure, runFailure } from "../../../web/views/remote/failure.ts";
import { readLayer } from "../../../web/views/remote/layer-report.ts";
import {
  defaults,
  draftOf,
  fromLab,
  fromQuery,
  MOST,
  presets,
  read,
  type RemoteExperiment,
  same,
  toQuery,
  variantsOf,
  withPreset,
} from "../../../web/views/remote/model.ts";
import { layerInput, TP } from "../../../web/views/remote/params.ts";
import { MOST_BYTES, NotARun, parse, readRun, type RecordedRun, writeRun } from "../../../web/views/remote/record.ts";
import { decades, passed, worstOf } from "../../../web/views/remote/verification.ts";
import { defaults as lab } from "../../../web/lib/experiment/experiment.ts";
import { repository } from "../../repository.ts";

const complain = await readSchema(() => readFile(repository("cuda-bridge/protocol/messages.schema.json"), "utf8"));
const shippedText = await readFile(repository("web/views/remote/runs/cpu-4-ranks.json"), "utf8");

const experiments: fc.Arbitrary<RemoteExperiment> = fc.record({
  work: fc.constantFrom("attend", "layer"),
  T: fc.integer({ min: 1, max: MOST.T }),
  P: fc.integer({ min: 0, max: MOST.P }),
  heads: fc.tuple(fc.integer({ min: 1, max: 32 }), fc.integer({ min: 1, max: 32 })),
  D: fc.integer({ min: 4, max: 64 }),
  N: fc.integer({ min: 1, max: MOST.N }),
  ways: fc.constantFrom("both", "pass-kv", "pass-q"),
  dtype: fc.constantFrom("f32", "f16", "bf16"),
  causal: fc.boolean(),
  link: fc.option(
    fc.record({
      bandwidth: fc.integer({ min: 1, max: 1e12 }),
      latency: fc.integer({ min: 0, max: 10_000_000 }).map((us) => us / 1e6),
    }),
  ),
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  rows: fc.integer({ min: 0, max: MOST.rows }),
  model: fc.constantFrom("llama3-405b", "small"),
}).map(({ heads: [group, Hkv], D, ...e }) => ({
  ...e,
  H: group * Hkv,
  Hkv,
  D: 4 * D,
  link: e.link === null ? null : { ...e.link },
  ...(e.work === "layer" ? { causal: true } : { model: "llama3-405b" as const }),
})) as fc.Arbitrary<RemoteExperiment>;

test("an experiment comes back from its address and its draft; other views' parts of the address stay", () => {
  fc.assert(fc.property(experiments, (experiment) => {
    const query = toQuery(experiment, "?seed=9&T=64&cp=2&turns=1.1");
    assert.ok(query.startsWith("seed=9&T=64&cp=2&turns=1.1&"));
    assert.deepEqual(read(fromQuery(query)), { problems: new Map(), experiment });
    assert.deepEqual(fromQuery(query), draftOf(experiment));
    assert.equal(toQuery(experiment, query), query);
  }));
});

test("what cannot be read is named with what was found and what is expected; what is not there is not wrong", () => {
  const { experiment, problems } = read(
    fromQuery("?tokens=many&qheads=7&kvheads=2&dim=30&ring=&net=fast,1e-6&type=int4"),
  );
  assert.equal(experiment, undefined);
  assert.deepEqual([...problems.keys()], ["T", "H", "D", "N", "dtype", "bandwidth"]);
  assert.equal(problems.get("T"), "New tokens T: found many, expected a whole number from 1 to 16,000,000.");
  assert.equal(problems.get("D"), "Head dimension D: found 30, expected a multiple of 4, such as 32.");
  assert.equal(problems.get("dtype"), "Type: found int4, expected one of bf16, f16, f32.");
  assert.deepEqual(read({ ...fromQuery("?qheads=7&kvheads=2&verify=x&mask=x"), work: "layer" }).problems, new Map());
});

test("presets are experiments of their size, and the Lab's is one too", () => {
  for (const preset of presets) {
    const taken = withPreset(defaults, preset);
    assert.deepEqual(read(draftOf(taken)).experiment, taken, preset.id);
    assert.ok(same(withPreset(taken, preset), taken));
  }
  assert.deepEqual(presets.filter(({ title }) => /^\d+[KM]$/.test(title)).map(({ experiment }) => experiment.T), [
    1000,
    4000,
    128_000,
    256_000,
    512_000,
    1_000_000,
  ]);
  const { T, P, N, dtype, ways } = fromLab(lab);
  assert.deepEqual({ T, P, N, dtype, ways }, { T: lab.T, P: lab.P, N: lab.N, dtype: lab.wire, ways: lab.variant });
  assert.deepEqual([
    variantsOf({ ways: "both", N: 8 }),
    variantsOf({ ways: "both", N: 1 }),
    variantsOf({ ways: "pass-q", N: 2 }),
  ], [["pass-kv", "pass-q"], ["pass-kv"], ["pass-q"]]);
});

test("a simulated run's spans give back the planner's own terms", async () => {
  for (const [T, P] of [[128_000, 0], [3200, 124_800]]) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const experiment = { ...defaults, T, P, N: 4 };
      const { cluster } = clusterOf("h100-hbm2e", experiment);
      const { spans, layer } = await plan({
        model: findModel("llama3-405b"),
        cluster,
        cp: 4,
        tp: 8,
        new: T,
        cached: P,
        variant,
        spans: true,
      });
      const ring = spans!.filter(({ kind }) => kind !== "gemm" && kind !== "allreduce" && kind !== "launch");
      const { figures } = await compareAttention(experiment, variant, ring, "h100-hbm2e");
      const of = (id: string) => figures.find((figure) => figure.id === id)!;
      const near = (id: string, share = 1e-6) =>
        assert.ok(
          Math.abs(of(id).measured! - of(id).planned!) <= share * of(id).planned! + 1e-12,
          `${variant} T ${T} ${id}: ${of(id).measured} and ${of(id).planned}`,
        );
      near("call");
      near("transfer");
      near("attention", 0.02);
      if (variant === "pass-q") near("all2all", 0.02);
      assert.ok(
        layer.breakdown.exposed === 0 || Math.abs(apart(of("exposed").measured, layer.breakdown.exposed)!) < 0.02,
        `${variant} T ${T}`,
      );
      assert.equal(of("rate").unit, "FLOP/s");
    }
  }
  assert.deepEqual(measuredRing([], 4), {
    call: undefined,
    attention: undefined,
    transfer: undefined,
    exposed: undefined,
    all2all: undefined,
    whole: undefined,
    rate: undefined,
  });
});

test("times of a ring are those of the rank that took longest, and a transfer the median one", () => {
  const span = (
    rank: number,
    kind: "attend" | "merge" | "wait" | "send" | "all2all",
    hop: number,
    start: number,
    duration: number,
    lane: "device" | "send" = kind === "send" ? "send" : "device",
  ) => ({ rank, lane, kind, hop, start, duration, bytes: 0, flops: kind === "attend" ? 100 : 0 });
  const measured = measuredRing([
    span(0, "attend", 0, 0, 1),
    span(0, "attend", 0, 1, 1),
    span(0, "attend", 1, 2, 3),
    span(1, "attend", 0, 0, 4),
    span(1, "attend", 1, 4, 4),
    span(1, "merge", 1, 8, 1),
    span(0, "wait", 1, 5, 2),
    span(0, "send", 0, 0, 6),
    span(1, "send", 0, 0, 2),
    span(1, "send", 1, 0, 1),
    span(0, "all2all", 1, 9, 3),
    span(0, "all2all", 1, 9, 5, "send"),
  ], 2);
  assert.deepEqual(measured, { call: 2, attention: 9, transfer: 2, exposed: 2, all2all: 3, whole: 14, rate: 500 / 13 });
});

test("the paper's figures stand beside the experiments that they are of, and no other", () => {
  const row = { ...defaults, N: 4, T: 3200, P: 124_800 };
  assert.deepEqual(
    Object.fromEntries(Object.entries(printedRing(row, "pass-q")).map(([term, { value }]) => [term, value])),
    { transfer: 166e-6, all2all: 424e-6, call: 414e-6 },
  );
  assert.deepEqual(
    Object.fromEntries(
      Object.entries(printedRing(row, "pass-kv")).map(([term, { value, table }]) => [term, [value, table]]),
    ),
    { transfer: [627e-6, "Table 5"], call: [414e-6, "Table 5"] },
  );
  for (
    const other of [{ N: 8 }, { T: 3201 }, { H: 8 }, { D: 64 }, { causal: false }, { work: "layer" }] as Partial<
      RemoteExperiment
    >[]
  ) assert.deepEqual(printedRing({ ...row, ...other }, "pass-q"), {});
  assert.equal(printedRing({ ...defaults, N: 1, T: 8000 }, "pass-kv").rate?.value, 540e12);
  const layer = { ...defaults, work: "layer", T: 128_000 } as RemoteExperiment;
  const seconds = (more: Partial<RemoteExperiment>, variant: "pass-kv" | "pass-q" = "pass-kv") =>
    printedTtft({ ...layer, ...more }, variant)?.value;
  assert.deepEqual([1, 2, 4, 8, 16].map((N) => seconds({ N })), [42.01, 21.042, 10.95, 5.85, 3.8]);
  assert.equal(seconds({ N: 16, T: 1_000_000 }), 77);
  assert.equal(seconds({ N: 4, T: 3200, P: 124_800 }, "pass-q"), 1.04643);
  assert.deepEqual([seconds({ N: 3 }), seconds({ model: "small" }), seconds({}, "pass-q")], [
    undefined,
    undefined,
    undefined,
  ]);
});

test("a layer's terms stand beside the planner's, and its TTFT beside the paper's", async () => {
  const experiment = { ...defaults, work: "layer", N: 16, T: 1_000_000, link: null } as RemoteExperiment;
  const term = (name: string, seconds: number, how = "measured") => ({ term: name, seconds, how, flops: 0 });
  const value = {
    terms: [
      term("norm 1", 0.001),
      term("qkv product", 0.02),
      term("attention", 0.25),
      term("exposed communication", 0.003, "modelled"),
      term("up product", 0.03),
      term("TP all-reduce", 0.01, "modelled"),
      term("of a newer worker", 1),
    ],
    layerSeconds: 0.634,
    ttft: 80,
    notes: ["a note", 7],
  };
  const report = readLayer(value);
  assert.deepEqual([...report.terms].map(([id, { seconds, how }]) => [id, seconds, how]), [
    ["pointwise", 0.001, "measured"],
    ["gemm", 0.05, "measured"],
    ["attention", 0.25, "measured"],
    ["exposed", 0.003, "modelled"],
    ["allreduce", 0.01, "modelled"],
  ]);
  assert.deepEqual([report.notes, readLayer({}).ttft, readLayer({ terms: "none", ttft: "soon" }).terms.size], [
    ["a note"],
    undefined,
    0,
  ]);
  const { figures, on } = await compareLayer(experiment, "pass-kv", report, "h100-hbm2e");
  const { plan: planned } = await planOf(experiment, "pass-kv", "h100-hbm2e");
  const of = (id: string): Figure => figures.find((figure) => figure.id === id)!;
  assert.deepEqual([of("attention").measured, of("attention").planned], [0.25, planned!.layer.breakdown.attention]);
  assert.deepEqual([of("layer").measured, of("layer").planned], [0.634, planned!.layer.seconds]);
  assert.deepEqual([of("allreduce").origin, of("gemm").origin], ["modelled", undefined]);
  assert.deepEqual([of("ttft").measured, of("ttft").planned, of("ttft").paper?.value], [80, planned!.seconds, 77]);
  assert.match(of("ttft").label, /126 layers/);
  assert.match(on, /^h100-hbm2e over Grand Teton/);
  const { model, tp } = layerInput({ ...experiment, model: "small" }, "pass-q");
  const mine = modelOf({ ...experiment, model: "small" });
  assert.deepEqual(model, {
    dModel: mine.width,
    heads: mine.heads,
    kvHeads: mine.kvHeads,
    headDim: mine.headDim,
    ffn: mine.ffn,
    layers: mine.layers,
  });
  assert.equal(tp, TP);
});

test("the planner's row is the one whose GPU the device is; a full mask and a CPU have none", async () => {
  const gpu = (name: string, memoryBytes = 80e9) => nearest({ name, kind: "cuda", memoryBytes });
  assert.deepEqual([
    gpu("NVIDIA H100 80GB HBM3"),
    gpu("NVIDIA H100", 96e9),
    gpu("NVIDIA H200"),
    gpu("AMD Instinct MI300X"),
    gpu("NVIDIA B200"),
    gpu("NVIDIA GB2000"),
    gpu("Tesla T4"),
  ], ["h100", "h100-hbm2e", "h200", "mi300x", "b200", undefined, undefined]);
  assert.deepEqual(
    [nearest(undefined), nearest({ name: "a CPU with H100 in its name", kind: "cpu", memoryBytes: 1 })],
    [undefined, undefined],
  );
  const full = await planOf({ ...defaults, causal: false }, "pass-kv", "h200");
  assert.deepEqual([full.plan, full.notes], [undefined, ["the planner plans only causal attention"]]);
  const { cluster, say } = clusterOf("h200", defaults);
  assert.deepEqual([cluster.accelerator.name, cluster.fabric.achieved, say], [
    "h200",
    defaults.link!.bandwidth,
    "h200 over the experiment’s link",
  ]);
});

test("differences have their sign, and are factors where percentages would be thousands", () => {
  assert.deepEqual(
    [
      apart(1.1, 1),
      apart(0.96, 1),
      apart(1, 1),
      apart(2000, 1),
      apart(1, 40),
      apart(0, 1),
      apart(undefined, 1),
      apart(1, 0),
    ].map(sayApart),
    ["+10.0 %", "−4.0 %", "±0.0 %", "× 2,000", "÷ 40", "÷ ∞", "–", "–"],
  );
});

test("a run comes back from its file, with errors that are infinite too", () => {
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

test("the shipped run is a real one: its provenance, its spans of four ranks, and rows that all pass", () => {
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

test("a file that is none is refused with the place, what was found and what was expected", () => {
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

test("damaged files are refused or read, and nothing else is thrown", () => {
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

test("the worst row is nearest to what it is allowed; all rows pass or the run does not", () => {
  const row = (token: number, out: number, allowed: number, pass = true) => ({
    token,
    head: 0,
    keys: token + 1,
    out,
    allowed,
    lse: 0,
    pass,
  });
  const rows = [row(0, 1e-7, 2e-6), row(1, 1.5e-6, 2e-6), row(2, 2e-6, 9e-6)];
  assert.equal(worstOf(rows)?.token, 1);
  assert.equal(worstOf([]), undefined);
  assert.deepEqual([
    passed({ rows, of: 3 }),
    passed({ rows, of: 4 }),
    passed({ rows: [...rows, row(3, 1, 2e-6, false)], of: 9 }),
  ], [true, undefined, false]);
  assert.deepEqual(
    [decades(undefined), decades(rows[1]), decades(row(0, 3e-3, 1e-2)), decades(row(0, Infinity, 1e-2))],
    [[-9, -4], [-10, -5], [-6, -1], [-1, 4]],
  );
});

test("an address is a host and a port, and never holds a token", () => {
  const at = (text: string, protocol = "http:") => readAddress(text, { protocol });
  assert.deepEqual([
    at("127.0.0.1:8787"),
    at(" ws://[::1]:1 "),
    at("wss://gpu.example:8787/"),
    at("ws://127.0.0.1:1", "https:"),
  ], [{ address: "ws://127.0.0.1:8787" }, { address: "ws://[::1]:1" }, { address: "wss://gpu.example:8787" }, {
    address: "ws://127.0.0.1:1",
  }]);
  for (const text of ["", "http://a:1", "ws://", "a b", "ws://h:1/?token=x", "ws://user:secret@h:1", "ws://h:1#t"]) {
    const read = at(text);
    assert.ok("failure" in read && read.failure.field === "address", text);
    assert.ok(!("failure" in read && /secret|token=x/.test(read.failure.message)), text);
  }
  const insecure = at("ws://gpu.example:8787", "https:");
  assert.ok("failure" in insecure && /--cert/.test(insecure.failure.advice));
  assert.equal(startCommand({ origin: "http://127.0.0.1:5173", hostname: "127.0.0.1" }), "python -m ringside_worker");
  assert.equal(
    startCommand({ origin: "https://example.org", hostname: "example.org" }),
    "python -m ringside_worker --origin https://example.org",
  );
});

test("each error of the client is told with what to do", () => {
  const error = (name: string, more: object = {}) => Object.assign(new Error("the message"), { name, ...more });
  assert.deepEqual(connectionFailure(error("RemoteError", { code: "bad-token" }), "ws://h:1", "http://page"), {
    title: "The worker rejects this token",
    message: "the message",
    advice: "It prints a fresh token each time it starts. Copy the new one.",
    field: "token",
  });
  assert.match(
    connectionFailure(error("RemoteError", { code: "unreachable" }), "ws://h:1", "http://page").advice,
    /http:\/\/page/,
  );
  assert.deepEqual([
    runFailure(
      Object.assign(new Error("memory on cpu: needs 4 GB, found 1 GB free; about 4096 new tokens would"), {
        name: "LimitError",
      }),
    ).fits,
    runFailure(error("LimitError")).fits,
    runFailure(error("InputError")).title,
    runFailure(error("RankError")).title,
    runFailure("thrown").message,
  ], [4096, undefined, "The machine rejects this experiment", "A rank of the machine failed", "thrown"]);
  assert.deepEqual([
    lostFailure("close code 1006", error("RemoteError")).message,
    lostFailure(undefined, error("RemoteError")).message,
  ], ["close code 1006", "the message"]);
  assert.match(runFailure(error("RemoteError", { code: "lost" })).title, /ended with the connection/);
});

test("the GPU check that ships was made on a GPU, met its bars, and says what it left out", async () => {
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

test("the GPU check's document is read as it is, bounded, and says whether a GPU made it", () => {
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
