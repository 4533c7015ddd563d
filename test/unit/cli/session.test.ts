/** `ringside session` in this process: a script checked against one full prefill, a rank killed on the way, and bad scripts. */
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
import { call, contents, inFolder } from "./command.ts";

const SCRIPT = { sequences: [{ rows: 120 }, { rows: 50 }], steps: [{ 0: 64, 1: 20 }, { 0: 1, 1: 1 }, { 1: 20 }, { 0: 1, 1: 1 }, { 0: 30 }] };

async function inputs(folder: string, script: unknown = SCRIPT): Promise<string[]> {
  const tensor = (name: "q" | "k" | "v", heads: number) => ({ shape: [170, heads, 16], dtype: "f32" as const, data: seededRows(5, name, 0, 170, heads * 16).map((x) => x * 1.0009765) });
  await writeFile(path.join(folder, "t.safetensors"), writeSafetensors({ q: tensor("q", 4), k: tensor("k", 2), v: tensor("v", 2) }));
  await writeFile(path.join(folder, "s.json"), typeof script === "string" ? script : JSON.stringify(script));
  return ["--tensors", path.join(folder, "t.safetensors"), "--script", path.join(folder, "s.json")];
}

interface Document {
  readonly steps: readonly { readonly mode: string; readonly T: number; readonly P: number; readonly missRate: number; readonly variant: string; readonly reason: string; readonly bytes: number; readonly messages: number; readonly paddingBytes: number; readonly tokens: readonly { readonly perRank: readonly number[] }[]; readonly times: { readonly total: number } }[];
  readonly recovered: readonly { readonly step: number; readonly replaced: readonly number[] }[];
  readonly error: { readonly passed: boolean };
}

test("a script gives what one full prefill gives, with a report of every step", async () => {
  await inFolder(async (folder) => {
    const out = path.join(folder, "o.npy");
    const { status, stdout } = await call(session, [...await inputs(folder), "--ranks", "3", "--backend", "cpu", "--check", "--json", "--out", out, "--trace", path.join(folder, "t.json")]);
    assert.equal(status, 0);
    const document = JSON.parse(stdout) as Document;
    assert.ok(document.error.passed);
    assert.deepEqual(document.steps.map((s) => [s.mode, s.T, s.P]), [["prefill", 84, 0], ["decode", 2, 84], ["prefill", 20, 21], ["decode", 2, 106], ["prefill", 30, 66]]);
    for (const s of document.steps) {
      assert.ok(Math.abs(s.missRate - s.T / (s.T + s.P)) < 1e-12);
      assert.equal(s.messages, s.variant === "pass-kv" ? 6 : 12);
      assert.ok(s.reason.length > 10 && s.bytes > 0 && s.times.total > 0 && s.paddingBytes >= 0);
      for (const { perRank } of s.tokens) assert.ok(Math.max(...perRank) - Math.min(...perRank) <= 1);
    }
    // Rows consumed: 96 of sequence 0, 42 of sequence 1.
    assert.deepEqual(readNpy(await readFile(out), out).shape, [138, 4, 16]);
    assert.ok(JSON.parse(await readFile(path.join(folder, "t.json"), "utf8")).traceEvents.length > 50);
  });
});

test("a rank killed half-way is replaced, the step is done again, and the end is exact", async () => {
  await inFolder(async (folder) => {
    const { status, stdout, stderr } = await call(session, [...await inputs(folder), "--ranks", "3", "--backend", "cpu", "--timeout", "2", "--check", "--json", "--fault", "rank=2,step=3,hop=1"]);
    assert.equal(status, 0, stderr);
    const document = JSON.parse(stdout) as Document;
    assert.ok(document.error.passed);
    assert.deepEqual(document.recovered.map((r) => [r.step, r.replaced]), [[3, [2]]]);
    assert.match(stderr, /step 3: rank .*replaced rank 2/);
  });
});

const BAD: readonly (readonly [name: string, script: unknown, argv: readonly string[], message: RegExp])[] = [
  ["no JSON", "{", [], /s\.json: found no JSON/],
  ["no sequences", { steps: [{ 0: 1 }] }, [], /found no "sequences"/],
  ["no steps", { sequences: [{ rows: 170 }] }, [], /found no "steps"/],
  ["rows that are no number", { sequences: [{ rows: "170" }], steps: [{ 0: 1 }] }, [], /sequence 0: found \{"rows":"170"\}/],
  ["rows that do not sum to q's", { sequences: [{ rows: 100 }], steps: [{ 0: 1 }] }, [], /found 100 rows in all its sequences, expected those of q \(170\)/],
  ["an empty step", { sequences: [{ rows: 170 }], steps: [{}] }, [], /step 0: found \{\}/],
  ["a sequence that is not there", { sequences: [{ rows: 170 }], steps: [{ 1: 1 }] }, [], /step 0: found sequence "1", expected 0 to 0/],
  ["more rows than there are", { sequences: [{ rows: 170 }], steps: [{ 0: 100 }, { 0: 71 }] }, [], /step 1, sequence 0: found 71 rows, expected at most the 70/],
  ["half a row", { sequences: [{ rows: 170 }], steps: [{ 0: 0.5 }] }, [], /step 0, sequence 0: found 0\.5 rows/],
  ["a fault without its step", SCRIPT, ["--fault", "rank=0,hop=0"], /expected the step/],
  ["rates that are none", SCRIPT, ["--rates", "5"], /--rates: found "5"/],
  ["a variant that is none", SCRIPT, ["--variant", "pass-x"], /--variant/],
  ["too little capacity", SCRIPT, ["--capacity", "16", "--ranks", "1", "--backend", "cpu"], /rank 0: free tokens of the KV cache/],
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
