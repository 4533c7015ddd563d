// The Remote view without a screen: its experiment, its address, and what it says about errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readAddress, startCommand } from "../../../web/views/remote/address.ts";
import { connectionFailure, lostFailure, runFailure } from "../../../web/views/remote/failure.ts";
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
import { decades, passed, worstOf } from "../../../web/views/remote/verification.ts";
import { defaults as lab } from "../../../web/lib/experiment/experiment.ts";

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

test("an experiment survives its address and its draft; other views' parts of the address stay", () => {
  fc.assert(fc.property(experiments, (experiment) => {
    const query = toQuery(experiment, "?seed=9&T=64&cp=2&turns=1.1");
    assert.ok(query.startsWith("seed=9&T=64&cp=2&turns=1.1&"));
    assert.deepEqual(read(fromQuery(query)), { problems: new Map(), experiment });
    assert.deepEqual(fromQuery(query), draftOf(experiment));
    assert.equal(toQuery(experiment, query), query);
  }));
});

test("an unreadable field is named with what was found and what is expected; a missing one is not an error", () => {
  const { experiment, problems } = read(
    fromQuery("?tokens=many&qheads=7&kvheads=2&dim=30&ring=&net=fast,1e-6&type=int4"),
  );
  assert.equal(experiment, undefined);
  assert.deepEqual([...problems.keys()], ["T", "H", "D", "N", "dtype", "bandwidth"]);
  assert.equal(problems.get("T"), "New tokens T: found many, expected a whole number from 1 to 16,000,000.");
  assert.equal(problems.get("D"), "Head dimension D: found 30, expected a multiple of 4, such as 32.");
  assert.equal(problems.get("dtype"), "Type: found int4, expected one of bf16, f16, f32.");
  assert.deepEqual(["?mask=0", "?mask=0&rmask=1", "?mask=window:4"].map((query) => fromQuery(query).causal), [
    "0",
    "1",
    "1",
  ]);
  assert.deepEqual(read({ ...fromQuery("?qheads=7&kvheads=2&verify=x&rmask=x"), work: "layer" }).problems, new Map());
});

test("presets are experiments of their size, and so is the Lab's", () => {
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
  const mask = { kind: "window", size: 64 } as const;
  for (const here of [{ mask }, { dealing: "contiguous" as const }]) {
    assert.equal(fromLab({ ...lab, ...here }), undefined);
  }
  assert.equal(fromLab({ ...lab, mask: { kind: "full" } })?.causal, false);
  const { T, P, N, dtype, ways } = fromLab(lab)!;
  assert.deepEqual({ T, P, N, dtype, ways }, { T: lab.T, P: lab.P, N: lab.N, dtype: lab.wire, ways: lab.variant });
  assert.deepEqual([
    variantsOf({ ways: "both", N: 8 }),
    variantsOf({ ways: "both", N: 1 }),
    variantsOf({ ways: "pass-q", N: 2 }),
  ], [["pass-kv", "pass-q"], ["pass-kv"], ["pass-q"]]);
});

test("the worst row is nearest to its bound; a run passes only if all rows pass", () => {
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

test("each error of the client says what to do", () => {
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
