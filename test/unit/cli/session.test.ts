/** `ringside session` in this process: a script against one full prefill, a rank that dies, and bad scripts. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { session } from "../../../engine/cli/session.ts";
import { InputError } from "../../../engine/errors.ts";
import { readNpy } from "../../../engine/tensor/npy.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { readFile } from "node:fs/promises";
import { expectNoOverlap } from "../trace/overlaps.ts";
import { call, contents, inFolder, platform } from "./command.ts";

const SCRIPT = {
  sequences: [{ rows: 120 }, { rows: 50 }],
  steps: [{ 0: 64, 1: 20 }, { 0: 1, 1: 1 }, { 1: 20 }, { 0: 1, 1: 1 }, { 0: 30 }],
};

async function inputs(folder: string, script: unknown = SCRIPT): Promise<string[]> {
  const tensor = (name: "q" | "k" | "v", heads: number) => ({
    shape: [170, heads, 16],
    dtype: "f32" as const,
    data: seededRows(5, name, 0, 170, heads * 16).map((x) => x * 1.0009765),
  });
  await writeFile(
    path.join(folder, "t.safetensors"),
    writeSafetensors({ q: tensor("q", 4), k: tensor("k", 2), v: tensor("v", 2) }),
  );
  await writeFile(path.join(folder, "s.json"), typeof script === "string" ? script : JSON.stringify(script));
  return ["--tensors", path.join(folder, "t.safetensors"), "--script", path.join(folder, "s.json")];
}

interface Document {
  readonly steps: readonly {
    readonly mode: string;
    readonly T: number;
    readonly P: number;
    readonly missRate: number;
    readonly variant: string;
    readonly reason: string;
    readonly bytes: number;
    readonly messages: number;
    readonly paddingBytes: number;
    readonly tokens: readonly { readonly perRank: readonly number[] }[];
    readonly times: { readonly total: number };
  }[];
  readonly recovered: readonly { readonly step: number; readonly replaced: readonly number[] }[];
  readonly error: { readonly passed: boolean };
}

test("a script gives the same as one full prefill, with a report of every step", async () => {
  await inFolder(async (folder) => {
    const out = path.join(folder, "o.npy");
    const { status, stdout } = await call(session, [
      ...await inputs(folder),
      "--ranks",
      "3",
      "--backend",
      "cpu",
      "--check",
      "--json",
      "--out",
      out,
      "--trace",
      path.join(folder, "t.json"),
    ]);
    assert.equal(status, 0);
    const document = JSON.parse(stdout) as Document;
    assert.ok(document.error.passed);
    assert.deepEqual(document.steps.map((s) => [s.mode, s.T, s.P]), [
      ["prefill", 84, 0],
      ["decode", 2, 84],
      ["prefill", 20, 21],
      ["decode", 2, 106],
      ["prefill", 30, 66],
    ]);
    for (const s of document.steps) {
      assert.ok(Math.abs(s.missRate - s.T / (s.T + s.P)) < 1e-12);
      assert.equal(s.messages, s.variant === "pass-kv" ? 6 : 12);
      assert.ok(s.reason.length > 10 && s.bytes > 0 && s.times.total > 0 && s.paddingBytes >= 0);
      for (const { perRank } of s.tokens) assert.ok(Math.max(...perRank) - Math.min(...perRank) <= 1);
    }
    // Rows consumed: 96 of sequence 0, 42 of sequence 1.
    assert.deepEqual(readNpy(await readFile(out), out).shape, [138, 4, 16]);
    assert.ok(expectNoOverlap(await readFile(path.join(folder, "t.json"), "utf8")) > 50);
  });
});

test("a rank that dies half-way is replaced, the step is repeated, and the result is exact", async () => {
  await inFolder(async (folder) => {
    const { status, stdout, stderr } = await call(session, [
      ...await inputs(folder),
      "--ranks",
      "3",
      "--backend",
      "cpu",
      "--timeout",
      "2",
      "--check",
      "--json",
      "--fault",
      "rank=2,step=3,hop=1",
    ]);
    assert.equal(status, 0, stderr);
    const document = JSON.parse(stdout) as Document;
    assert.ok(document.error.passed);
    assert.deepEqual(document.recovered.map((r) => [r.step, r.replaced]), [[3, [2]]]);
    assert.match(stderr, /step 3: rank .*replaced rank 2/);
  });
});

const BAD: readonly (readonly [name: string, script: unknown, argv: readonly string[], message: RegExp])[] = [
  ["not JSON", "{", [], /s\.json: found no JSON/],
  ["no sequences", { steps: [{ 0: 1 }] }, [], /found no "sequences"/],
  ["no steps", { sequences: [{ rows: 170 }] }, [], /found no "steps"/],
  [
    "rows that are not a number",
    { sequences: [{ rows: "170" }], steps: [{ 0: 1 }] },
    [],
    /sequence 0: found \{"rows":"170"\}/,
  ],
  [
    "rows that do not sum to q's",
    { sequences: [{ rows: 100 }], steps: [{ 0: 1 }] },
    [],
    /found 100 rows in all its sequences, expected those of q \(170\)/,
  ],
  ["an empty step", { sequences: [{ rows: 170 }], steps: [{}] }, [], /step 0: found \{\}/],
  [
    "a missing sequence",
    { sequences: [{ rows: 170 }], steps: [{ 1: 1 }] },
    [],
    /step 0: found sequence "1", expected 0 to 0/,
  ],
  [
    "more rows than are left",
    { sequences: [{ rows: 170 }], steps: [{ 0: 100 }, { 0: 71 }] },
    [],
    /step 1, sequence 0: found 71 rows, expected at most the 70/,
  ],
  [
    "a sequence twice in a step",
    `{"sequences": [{"rows": 170}],\n "steps": [{"0": 100}, {"0": 1, "\\u0030": 2}]}`,
    [],
    /s\.json: line 2, column 33: found the key "0" twice in one object, expected it once$/,
  ],
  [
    "steps twice",
    '{"steps": [{"0": 1}], "sequences": [{"rows": 170}], "steps": [{"0": 2}]}',
    [],
    /s\.json: line 1, column 53: found the key "steps" twice/,
  ],
  ["a sequence with a leading zero", { sequences: [{ rows: 170 }], steps: [{ "00": 1 }] }, [], /found sequence "00"/],
  ["half a row", { sequences: [{ rows: 170 }], steps: [{ 0: 0.5 }] }, [], /step 0, sequence 0: found 0\.5 rows/],
  ["a fault without its step", SCRIPT, ["--fault", "rank=0,hop=0"], /expected also the step/],
  ["invalid rates", SCRIPT, ["--rates", "5"], /--rates: found "5"/],
  ["an unknown variant", SCRIPT, ["--variant", "pass-x"], /--variant/],
  [
    "too little capacity",
    SCRIPT,
    ["--capacity", "16", "--ranks", "1", "--backend", "cpu"],
    /rank 0: free tokens of the KV cache/,
  ],
];

for (const [name, script, argv, message] of BAD) {
  test(`bad input: ${name}`, async () => {
    await inFolder(async (folder) => {
      const given = await inputs(folder, script);
      const before = await contents(folder);
      await assert.rejects(call(session, [...given, ...argv, "--out", path.join(folder, "o.npy")]), (error) => {
        assert.ok(error instanceof InputError, String(error));
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(await contents(folder), before);
    });
  });
}

test("a step out of f32's range is refused before any rank starts, with the step, sequence and tensor", async () => {
  await inFolder(async (folder) => {
    const options = await inputs(folder);
    const started = {
      startWorker: () => {
        throw new Error("a rank was started");
      },
    };
    const refused = async (more: readonly string[], says: RegExp) =>
      await assert.rejects(
        call(session, [...options, ...more], { platform: { ...platform, ...started } }),
        (error: unknown) => error instanceof InputError && (assert.match(error.message, says), true),
      );
    await refused(
      ["--scale", "1e36"],
      /^step 0, sequence 0, q and k: found values up to .*, whose scores may overflow f32/,
    );
    await refused(["--scale", "1e39"], /^--scale: found 1e\+39, which may overflow f32/);
    await refused(["--capacity", "1e9"], /^capacity: found 1000000000 tokens a rank, expected at most \d+: /);
    const tensor = (name: "q" | "k" | "v", heads: number) => {
      const data = seededRows(5, name, 0, 170, heads * 16);
      if (name === "v") data.fill(3e38, 130 * 32, 131 * 32);
      return { shape: [170, heads, 16], dtype: "f32" as const, data };
    };
    await writeFile(
      path.join(folder, "t.safetensors"),
      writeSafetensors({ q: tensor("q", 4), k: tensor("k", 2), v: tensor("v", 2) }),
    );
    // Row 130 is row 10 of sequence 1: step 0 appends 20 of its rows.
    await refused([], /^step 0, sequence 1, v: found values up to .*, whose sums may overflow f32/);
    await refused(
      ["--wire-dtype", "f16"],
      /^step 0, sequence 1, v: found a value of magnitude .*, which f16 on the wire cannot hold/,
    );
  });
});

test("queries are checked against the cached keys of earlier steps", async () => {
  await inFolder(async (folder) => {
    const options = await inputs(folder);
    const tensor = (name: "q" | "k" | "v", heads: number) => {
      const data = seededRows(5, name, 0, 170, heads * 16);
      if (name === "k") data.fill(1e30, 0, 32); // appended in step 0, with small queries
      if (name === "q") data.fill(1e30, 90 * 64, 91 * 64); // row 90 of sequence 0: step 4
      return { shape: [170, heads, 16], dtype: "f32" as const, data };
    };
    await writeFile(
      path.join(folder, "t.safetensors"),
      writeSafetensors({ q: tensor("q", 4), k: tensor("k", 2), v: tensor("v", 2) }),
    );
    await assert.rejects(
      call(session, [...options, "--backend", "cpu"]),
      (error: unknown) =>
        error instanceof InputError &&
        /^step 4, sequence 0, q and k: found values up to 1\.0.*e\+30 and 1\.0.*e\+30, whose scores may overflow/.test(
          error.message,
        ),
    );
  });
});
