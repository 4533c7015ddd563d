/** Masks, sinks and values in keys on the command line: what their options read, and what they refuse. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { dealingOption, maskOption } from "../../../engine/cli/options.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { session } from "../../../engine/cli/session.ts";
import type { AttendInput } from "../../../engine/cluster/types.ts";
import { InputError } from "../../../engine/errors.ts";
import type { Mask } from "../../../engine/layout/mask.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { difference } from "../../../engine/reference/error.ts";
import { writeNpy } from "../../../engine/tensor/npy.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { nodeFirst } from "../../tiers.ts";
import { call, type Document, inFolder, npyBytes, readOutput } from "./command.ts";
import { type Case, F, npy, npyWith, ones, qkv, refuses, tensor } from "./refusals.ts";

/** Throws unless `work` refuses its input with exactly this message. */
function rejects(work: () => unknown, message: string): void {
  assert.throws(work, (error: unknown) => error instanceof InputError && error.message === message, message);
}

test("--mask, --sink-tokens and --no-causal: every mask, in tokens as people write them", () => {
  for (
    const [options, mask] of [
      [{}, { kind: "causal" }],
      [{ mask: "causal" }, { kind: "causal" }],
      [{ mask: "full" }, { kind: "full" }],
      [{ "no-causal": true }, { kind: "full" }],
      [{ mask: "full", "no-causal": true }, { kind: "full" }],
      [{ mask: "window:1024" }, { kind: "window", size: 1024 }],
      [{ mask: "window:4Ki" }, { kind: "window", size: 4096 }],
      [{ mask: "chunk:8k" }, { kind: "chunk", size: 8000 }],
      [{ mask: "window:1" }, { kind: "window", size: 1 }],
      [{ mask: "window:64", "sink-tokens": "4" }, { kind: "window", size: 64, sinkTokens: 4 }],
      [{ mask: "chunk:64+4" }, { kind: "chunk", size: 64, sinkTokens: 4 }],
      [{ mask: "chunk:64", "sink-tokens": "0" }, { kind: "chunk", size: 64 }],
    ] as const
  ) assert.deepEqual(maskOption(options), mask, JSON.stringify(options));
});

test("a wrong --mask is refused with what was expected, and the kind that was meant", () => {
  const window = "expected window:W, W a whole number of tokens of at least 1, such as window:1024";
  const kinds = "expected causal, full, window:W or chunk:C";
  for (
    const [mask, expected] of [
      ["window", window],
      ["window:", window],
      ["window:0", window],
      ["window:1.5", window],
      ["window:-3", window],
      ["window:many", window],
      ["window:1e16", window],
      ["window:8,4", window],
      ["window=8", window],
      ["window 8", window],
      ["chunk:", "expected chunk:C, C a whole number of tokens of at least 1, such as chunk:8192"],
      ["window:8+", "expected window:W+S, W a whole number of tokens of at least 1, such as window:1024+4"],
      ["chunk:8+-1", "expected chunk:C+S, C a whole number of tokens of at least 1, such as chunk:8192+4"],
      ["causal:4", "expected causal, which has no size"],
      ["full:", "expected full, which has no size"],
      ["Window:4", `${kinds}; did you mean window:4?`],
      ["windows:4", `${kinds}; did you mean window:4?`],
      ["win:4+2", `${kinds}; did you mean window:4?`],
      ["Chunk", `${kinds}; did you mean chunk:C?`],
      ["casual", `${kinds}; did you mean causal?`],
      ["sliding:4", kinds],
      ["1024", kinds],
      ["", kinds],
      [":4", kinds],
    ] as const
  ) rejects(() => maskOption({ mask }), `--mask: found ${JSON.stringify(mask)}, ${expected}`);
});

test("options that contradict the mask are refused", () => {
  rejects(
    () => maskOption({ mask: "window:8", "no-causal": true }),
    "--no-causal: found beside --mask window:8, expected one of them: --no-causal is --mask full",
  );
  for (const o of [{}, { mask: "causal" }] as const) {
    rejects(
      () => maskOption({ ...o, "sink-tokens": "4" }),
      "--sink-tokens: found with the mask causal, expected --mask window:W or chunk:C: a causal mask hides no first token",
    );
  }
  rejects(
    () => maskOption({ "no-causal": true, "sink-tokens": "4" }),
    "--sink-tokens: found with the mask full, expected --mask window:W or chunk:C: a full mask hides no first token",
  );
  rejects(
    () => maskOption({ mask: "window:8+2", "sink-tokens": "4" }),
    "--sink-tokens: found beside --mask window:8+2, whose +S says the same; expected one",
  );
  rejects(
    () => maskOption({ mask: "window:8", "sink-tokens": "-1" }),
    '--sink-tokens: found "-1", expected a whole number of at least 0',
  );
});

test("--dealing reads every dealing, and refuses others with the nearest", () => {
  assert.deepEqual([undefined, "head-tail", "contiguous"].map((dealing) => dealingOption({ dealing })), [
    undefined,
    "head-tail",
    "contiguous",
  ]);
  rejects(
    () => dealingOption({ dealing: "headtail" }),
    '--dealing: found "headtail", expected head-tail or contiguous; did you mean head-tail?',
  );
  rejects(() => dealingOption({ dealing: "striped" }), '--dealing: found "striped", expected head-tail or contiguous');
});

const IN_KEYS = /; if V is the first elements of K's rows, give --v-prefix DV$/;
const QK = ["--q", "q.npy", "--k", "k.npy", "--ranks", "2"];
const { q, k } = qkv;

const BAD: Case[] = [
  {
    name: "an unknown mask",
    options: ["--mask", "Window:4"],
    says: /^--mask: found "Window:4", expected causal, full, window:W or chunk:C; did you mean window:4\?$/,
  },
  {
    name: "--no-causal beside a window",
    options: ["--no-causal", "--mask", "window:4"],
    says: /^--no-causal: found beside --mask window:4, expected one of them: --no-causal is --mask full$/,
  },
  {
    name: "--sink-tokens without a window or chunk",
    options: ["--sink-tokens", "4"],
    says: /^--sink-tokens: found with the mask causal, expected --mask window:W or chunk:C/,
  },
  {
    name: "an unknown dealing",
    options: ["--dealing", "tail-head"],
    says: /^--dealing: found "tail-head", expected head-tail or contiguous$/,
  },
  {
    name: "sinks for other heads",
    files: { "s.npy": npy(3) },
    options: ["--sinks", "s.npy"],
    says: /^s\.npy: found shape \[3\], expected \[4\]: a logit for each query head$/,
  },
  {
    name: "sinks with two axes",
    files: { "s.npy": npy(1, 4) },
    options: ["--sinks", "s.npy"],
    says: /^s\.npy: found shape \[1, 4\], expected \[4\]: a logit for each query head$/,
  },
  {
    name: "sinks of whole numbers",
    files: {
      "s.npy": npyBytes("{'descr': '<i8', 'fortran_order': False, 'shape': (4,), }", new Uint8Array(32)),
    },
    options: ["--sinks", "s.npy"],
    says: /^s\.npy: found .*<i8.*, expected /,
  },
  {
    name: "a sink that is no number",
    files: { "s.npy": npyWith(NaN, 2, 4) },
    options: ["--sinks", "s.npy"],
    says: /^s\.npy: found NaN at \[2\] of shape \[4\], expected finite values only$/,
  },
  {
    name: "a sink that f32 cannot sum",
    files: { "s.npy": npyWith(3e38, 2, 4) },
    options: ["--sinks", "s.npy"],
    says: /^s\.npy: found magnitudes above .*, which may overflow f32; expected smaller ones$/,
  },
  {
    name: "sinks that are not there",
    options: ["--sinks", "s.npy"],
    says: /^--sinks s\.npy: cannot be read \(ENOENT\), expected a file$/,
  },
  {
    name: "sinks as an output",
    files: { "s.npy": npy(4) },
    options: ["--sinks", "s.npy", "--lse", "s.npy"],
    says: /^--lse s\.npy: --sinks names the same file, expected different ones$/,
  },
  {
    name: "sinks for other heads in the tensors' file",
    all: F,
    files: { "f.safetensors": writeSafetensors({ ...qkv, sinks: tensor(2) }) },
    says: /^f\.safetensors, tensor sinks: found shape \[2\], expected \[4\]: a logit for each query head$/,
  },
  {
    name: "--v-prefix beside --v",
    options: ["--v-prefix", "16"],
    says: /^--v-prefix: found beside --v, expected one of them: with --v-prefix, V is part of K$/,
  },
  {
    name: "--v-prefix beside a tensor v",
    all: [...F, "--v-prefix", "16"],
    files: { "f.safetensors": writeSafetensors(qkv) },
    says: /^--v-prefix: found beside f\.safetensors, tensor v, expected one of them: with --v-prefix, V is part of K$/,
  },
  ...["20", "10", "18", "32", "512"].map((prefix): Case => ({
    name: `--v-prefix ${prefix} of D = 16`,
    all: [...QK, "--v-prefix", prefix],
    says: new RegExp(`^--v-prefix: found "${prefix}", expected a multiple of 4 from 16 to K's D = 16$`),
  })),
  ...["0", "-4", "16.5"].map((prefix): Case => ({
    name: `--v-prefix ${prefix}`,
    all: [...QK, `--v-prefix=${prefix}`],
    says: new RegExp(`^--v-prefix: found "${prefix}", expected a whole number of at least 1$`),
  })),
  {
    name: "--v-prefix of a seed, larger than D",
    all: ["--seed", "1", "--shape", "8,2,1,32", "--v-prefix", "64"],
    says: /^--v-prefix: found "64", expected a multiple of 4 from 16 to K's D = 32$/,
  },
  { name: "no --v", all: QK, says: IN_KEYS },
  {
    name: "no tensor v",
    all: F,
    files: { "f.safetensors": writeSafetensors({ q, k }) },
    says: new RegExp(`^f\\.safetensors: found no tensor "v"; the file holds "k", "q"${IN_KEYS.source}`),
  },
];

test("attend refuses wrong masks, sinks and values in keys", async (t) => {
  for (const c of BAD) await t.test(c.name, () => refuses(c));
});

/** Runs `attend` on the CPU with the check, and compares O and LSE with float64. */
async function attends(folder: string, argv: readonly string[], input: AttendInput): Promise<Document> {
  const { status, stdout, stderr } = await call(attend, [
    ...argv,
    ...[
      "--backend",
      "cpu",
      "--check",
      "--json",
      "--out",
      path.join(folder, "o.npy"),
      "--lse",
      path.join(folder, "l.npy"),
    ],
  ]);
  assert.deepEqual([status, stderr], [0, ""]);
  const [o, l, exact] = [await readOutput(folder, "o.npy"), await readOutput(folder, "l.npy"), reference(input)];
  const T = input.sequences.reduce((sum, s) => sum + s.new, 0);
  const document = JSON.parse(stdout) as Document;
  assert.deepEqual([o.shape, l.shape], [[T, input.heads, document.shape.valueDim], [T, input.heads]]);
  assert.ok(difference(o.data, exact.out).within && difference(l.data, exact.lse).within);
  return document;
}

/** H/Hkv 4/2, D 16, 60 new and 20 cached tokens, from seed 3. */
const SEEDED = ["--seed", "3", "--shape", "60:20,4,2,16", "--ranks", "3"];
const seeded = (name: "q" | "k" | "v", rows: number, columns: number) => seededRows(3, name, 0, rows, columns);
const INPUT: AttendInput = {
  q: seeded("q", 60, 64),
  k: seeded("k", 80, 32),
  v: seeded("v", 80, 32),
  sequences: [{ new: 60, cached: 20 }],
  heads: 4,
  kvHeads: 2,
  headDim: 16,
};

test(
  "attend computes every mask with both variants and dealings, and reports what it skipped",
  nodeFirst,
  () =>
    inFolder(async (folder) => {
      const masks: [string[], Mask][] = [
        [["--mask", "full"], { kind: "full" }],
        [["--mask", "window:9"], { kind: "window", size: 9 }],
        [["--mask", "chunk:16"], { kind: "chunk", size: 16 }],
        [["--mask", "window:9", "--sink-tokens", "2"], { kind: "window", size: 9, sinkTokens: 2 }],
      ];
      for (const [options, mask] of masks) {
        for (const dealing of ["head-tail", "contiguous"]) {
          for (const variant of ["pass-kv", "pass-q"]) {
            const argv = [...SEEDED, ...options, "--dealing", dealing, "--variant", variant];
            const found = await attends(folder, argv, { ...INPUT, mask });
            assert.deepEqual([found.mask, found.dealing, found.variant], [mask, dealing, variant]);
            assert.equal(found.skipped.bytes > 0, mask.kind !== "full", argv.join(" "));
            assert.equal(found.skipped.bytes, found.perRank.reduce((sum, r) => sum + r.skipped.bytes, 0));
          }
        }
      }
    }),
);

test("attend takes sinks from --sinks or the tensors' file, where --sinks comes first", () =>
  inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name);
    const [sinks, others] = [Float32Array.of(-3, 0, 0.5, 4), Float32Array.of(9, 9, 9, 9)];
    await writeFile(at("s.npy"), writeNpy([4], sinks));
    const rows = (
      data: Float32Array,
      h: number,
    ) => ({ shape: [data.length / (h * 16), h, 16], dtype: "f32", data } as const);
    const { q, k, v } = INPUT;
    const file = { q: rows(q, 4), k: rows(k, 2), v: rows(v as Float32Array, 2) };
    await writeFile(
      at("t.safetensors"),
      writeSafetensors({ ...file, sinks: { shape: [4], dtype: "f32", data: sinks } }),
    );
    await writeFile(
      at("u.safetensors"),
      writeSafetensors({ ...file, sinks: { shape: [4], dtype: "f32", data: others } }),
    );
    for (
      const argv of [
        [...SEEDED, "--sinks", at("s.npy")],
        ["--tensors", at("t.safetensors")],
        ["--tensors", at("u.safetensors"), "--sinks", at("s.npy"), "--variant", "pass-q"],
      ]
    ) assert.equal((await attends(folder, argv, { ...INPUT, sinks })).sinks, true);
  }));

test("attend takes values in keys from files and seeds, and values of another head size", () =>
  inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name);
    const [q, k] = [seeded("q", 60, 4 * 32), seeded("k", 80, 32)];
    const input = { ...INPUT, q, k, v: { prefixOfK: 20 }, kvHeads: 1, headDim: 32 };
    await writeFile(at("q.npy"), writeNpy([60, 4, 32], q));
    await writeFile(at("k.npy"), writeNpy([80, 1, 32], k));
    await writeFile(
      at("t.safetensors"),
      writeSafetensors({
        q: { shape: [60, 4, 32], dtype: "f32", data: q },
        k: { shape: [80, 1, 32], dtype: "f32", data: k },
      }),
    );
    for (
      const argv of [
        ["--seed", "3", "--shape", "60:20,4,1,32"],
        ["--q", at("q.npy"), "--k", at("k.npy")],
        ["--tensors", at("t.safetensors")],
      ]
    ) {
      const { shape, perRank } = await attends(folder, [...argv, "--v-prefix", "20", "--ranks", "2"], input);
      assert.deepEqual([shape.headDim, shape.valueDim, shape.valuesInKeys], [32, 20, true]);
      // One row of 32 elements for each of a rank's 40 tokens.
      assert.deepEqual(perRank.map(({ bytesSent }) => bytesSent), [40 * 32 * 4, 40 * 32 * 4]);
    }
    const v = seeded("v", 80, 20);
    await writeFile(at("v.npy"), writeNpy([80, 1, 20], v));
    const { shape } = await attends(
      folder,
      ["--q", at("q.npy"), "--k", at("k.npy"), "--v", at("v.npy"), "--variant", "pass-q"],
      { ...input, v, valueDim: 20 },
    );
    assert.deepEqual([shape.valueDim, shape.valuesInKeys], [20, false]);
  }));

test("--verify-rows judges with the mask, sinks and values in keys", () =>
  inFolder(async (folder) => {
    const sinks = path.join(folder, "s.npy");
    await writeFile(sinks, writeNpy([4], Float32Array.of(-3, 0, 0.5, 4)));
    for (const dealing of ["head-tail", "contiguous"]) {
      const { status, stdout } = await call(attend, [
        ...["--seed", "3", "--shape", "60:20,4,1,32", "--ranks", "3", "--v-prefix", "20", "--sinks", sinks],
        ...["--mask", "window:9+2", "--dealing", dealing, "--backend", "cpu", "--verify-rows", "40", "--json"],
      ]);
      assert.equal(status, 0, stdout);
      const { verified } = JSON.parse(stdout) as {
        verified: { rows: number; passed: boolean; worst: { keys: number } };
      };
      assert.deepEqual([verified.rows, verified.passed, verified.worst.keys], [40, true, 11]);
    }
  }));

test("the report says mask, sinks and dealing in words, and nothing of them for a run as in the paper", () =>
  inFolder(async (folder) => {
    const sinks = path.join(folder, "s.npy");
    await writeFile(sinks, writeNpy([4], ones(4)));
    const lines = async (...options: string[]) =>
      (await call(attend, [...SEEDED, "--backend", "cpu", ...options])).stdout.split("\n").filter((line) =>
        /^(mask|sinks|dealing|skipped):/.test(line)
      );
    assert.deepEqual(await lines(), []);
    assert.deepEqual(await lines("--no-causal"), ["mask:    full: a query sees its whole sequence"]);
    const [mask, ...others] = await lines(
      ...["--mask", "window:11", "--sink-tokens", "2", "--dealing", "contiguous", "--sinks", sinks],
    );
    assert.equal(mask, "mask:    window of 11: a query at position p sees p-10 to p, and positions 0 to 1");
    assert.deepEqual(others.slice(0, -1), [
      "sinks:   one logit for each head; LSE includes the sinks",
      "dealing: contiguous",
    ]);
    // 6 messages, each of 7 cached and 20 new rows of K and V.
    assert.match(
      others.at(-1)!,
      /^skipped: \d of 9 hops, \d of 6 messages and [\d,]+ of 41,472 bytes \([\d.]+ %\): no query needs them$/,
    );
  }));

test("a fault that has no message to lose under the mask is refused", () =>
  inFolder(async () => {
    await assert.rejects(
      call(attend, [
        ...[...SEEDED, "--backend", "cpu", "--mask", "window:2", "--dealing", "contiguous"],
        ...["--fault", "rank=2,hop=1,kind=drop"],
      ]),
      (error: unknown) =>
        error instanceof InputError && error.message.startsWith(
          "--fault: found drop at hop 1 of rank 2, which sends nothing there under the mask window:2; expected ",
        ),
    );
  }));

/** Two sequences: prefills below and above a window of 12, decodes past it, and a partial prefill. */
const SCRIPT = {
  sequences: [{ rows: 70 }, { rows: 30 }],
  steps: [{ 0: 40, 1: 9 }, { 0: 1, 1: 1 }, { 0: 1, 1: 1 }, { 1: 6 }, { 0: 20 }, { 0: 1, 1: 1 }],
};

async function talk(folder: string, tensors: Parameters<typeof writeSafetensors>[0]): Promise<string[]> {
  const [t, s] = [path.join(folder, "t.safetensors"), path.join(folder, "s.json")];
  await writeFile(t, writeSafetensors(tensors));
  await writeFile(s, JSON.stringify(SCRIPT));
  return ["--tensors", t, "--script", s, "--ranks", "3", "--backend", "cpu", "--check"];
}

const made = (name: "q" | "k" | "v", h: number, D: number) => ({
  shape: [100, h, D],
  dtype: "f32" as const,
  data: seeded(name, 100, h * D),
});

test(
  "session: each mask, with sinks, gives the same as one full prefill under it",
  nodeFirst,
  () =>
    inFolder(async (folder) => {
      const sinks = { shape: [4], dtype: "f32" as const, data: Float32Array.of(-2, 0, 1, 3) };
      const argv = await talk(folder, { q: made("q", 4, 16), k: made("k", 2, 16), v: made("v", 2, 20), sinks });
      for (
        const [options, mask] of [
          [["--mask", "window:12"], { kind: "window", size: 12 }],
          [["--mask", "chunk:16", "--dealing", "contiguous"], { kind: "chunk", size: 16 }],
          [["--mask", "window:5+3", "--variant", "pass-q"], { kind: "window", size: 5, sinkTokens: 3 }],
        ] as const
      ) {
        const out = path.join(folder, "o.npy");
        const { status, stdout } = await call(session, [...argv, ...options, "--json", "--out", out]);
        assert.equal(status, 0, stdout);
        const found = JSON.parse(stdout) as Pick<Document, "mask" | "sinks" | "dealing" | "shape" | "error"> & {
          readonly steps: readonly Pick<Document, "skipped" | "perRank">[];
        };
        assert.ok(found.error!.passed);
        assert.deepEqual([found.mask, found.sinks, found.shape.valueDim], [mask, true, 20]);
        for (const { skipped, perRank } of found.steps) {
          assert.equal(skipped.bytes, perRank.reduce((sum, r) => sum + r.skipped.bytes, 0));
        }
        assert.ok(found.steps.some(({ skipped }) => skipped.bytes > 0));
        assert.deepEqual((await readOutput(folder, "o.npy")).shape, [81, 4, 20]);
      }
      const { stdout } = await call(session, [...argv, "--mask", "window:12"]);
      assert.match(stdout, /^mask: {4}window of 12: a query at position p sees p-11 to p$/m);
      assert.match(stdout, /^sinks: .*LSE includes the sinks$/m);
      assert.match(stdout, /^skipped: \d+ of 54 hops, /m);
      assert.match(stdout, / bytes {2}messages {2}skipped {2}padding /);
    }),
);

test("session: values in keys are cached and sent once", () =>
  inFolder(async (folder) => {
    const argv = await talk(folder, { q: made("q", 4, 32), k: made("k", 1, 32) });
    const { status, stdout } = await call(session, [...argv, "--v-prefix", "20", "--variant", "pass-kv", "--json"]);
    assert.equal(status, 0, stdout);
    const { shape, steps } = JSON.parse(stdout) as {
      shape: Document["shape"];
      steps: { perRank: Document["perRank"] }[];
    };
    assert.deepEqual([shape.headDim, shape.valueDim, shape.valuesInKeys], [32, 20, true]);
    // The first step's 40 and 9 tokens: at most 14 and 3 rows on a rank, each of 32 elements, sent twice.
    assert.deepEqual(steps[0].perRank.map(({ bytesSent }) => bytesSent), new Array(3).fill(2 * (14 + 3) * 32 * 4));
  }));

test("session refuses a mask that it cannot have, before it reads a file", () =>
  inFolder(async () => {
    for (
      const [options, message] of [
        [
          ["--mask", "full"],
          '--mask: found "full", expected causal, window:W or chunk:C: a session does not have its later tokens yet',
        ],
        [
          ["--mask", "chunk:"],
          '--mask: found "chunk:", expected chunk:C, C a whole number of tokens of at least 1, such as chunk:8192',
        ],
        [["--dealing", "x"], '--dealing: found "x", expected head-tail or contiguous'],
      ] as const
    ) {
      await assert.rejects(
        call(session, ["--tensors", "none", "--script", "none", ...options]),
        (error: unknown) => error instanceof InputError && error.message === message,
      );
    }
  }));

test("policy refuses a --v-prefix that no kernel computes", async () => {
  const argv = ["--new", "8k", "--ranks", "4", "--heads", "16", "--kv-heads", "1", "--v-prefix"];
  for (const prefix of ["30", "12", "132"]) {
    await assert.rejects(call((words, io) => policy(words, io), [...argv, prefix]), {
      name: "InputError",
      message: `--v-prefix: found "${prefix}", expected a multiple of 4 from 16 to K's D = 128`,
    });
  }
});
