// Own data without a screen: files to tensors with the command line's messages, files told apart by name, what a report
// says of them.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { readTensors } from "../../../engine/cli/tensors.ts";
import * as engine from "../../../engine/index.ts";
import { defaults } from "../../../web/lib/experiment/experiment.ts";
import { letterOf, type OwnFiles, tensorsOf } from "../../../web/lib/own/data.ts";
import { settle, sort, type Sorted } from "../../../web/lib/own/intake.ts";
import { readOwn } from "../../../web/lib/own/tensors.ts";
import { reportJson } from "../../../web/views/lab/report.ts";

const { writeNpy, writeSafetensors } = engine;
const numbers = (...shape: number[]) => engine.seededRows(3, "q", 0, 1, shape.reduce((n, length) => n * length, 1));
const npy = (...shape: number[]) => writeNpy(shape, numbers(...shape));
const file = (name: string, bytes: Uint8Array<ArrayBuffer>) => new File([bytes], name);
const good = { q: npy(5, 4, 16), k: npy(8, 2, 16), v: npy(8, 2, 16) };
const files = (over: Partial<typeof good> = {}) => {
  const all = { ...good, ...over };
  return { q: file("q.npy", all.q), k: file("k.npy", all.k), v: file("v.npy", all.v) };
};
const tensors = (bytes: Uint8Array<ArrayBuffer>): OwnFiles => ({ tensors: file("qkv.safetensors", bytes) });
const safe = (...shapes: number[][]) =>
  writeSafetensors(
    Object.fromEntries(
      shapes.map((shape, i) => ["qkvx"[i], { shape, dtype: "f16" as const, data: numbers(...shape) }]),
    ),
  );

test("three .npy files become T, P, H, Hkv and D, and the numbers that they hold", async () => {
  const read = await readOwn(files(), engine);
  assert.deepEqual(read.facts, {
    shape: { T: 5, P: 3, H: 4, Hkv: 2, D: 16 },
    tensors: {
      q: { shape: [5, 4, 16], dtype: "f32" },
      k: { shape: [8, 2, 16], dtype: "f32" },
      v: { shape: [8, 2, 16], dtype: "f32" },
    },
  });
  assert.deepEqual(read.q, numbers(5, 4, 16));
  assert.deepEqual(read.k, numbers(8, 2, 16));
});

test("one .safetensors with q, k and v, in f16", async () => {
  const read = await readOwn(tensors(safe([6, 2, 32], [6, 1, 32], [6, 1, 32])), engine);
  assert.deepEqual(read.facts.shape, { T: 6, P: 0, H: 2, Hkv: 1, D: 32 });
  assert.equal(read.facts.tensors.v.dtype, "f16");
  assert.deepEqual(read.q, numbers(6, 2, 32));
});

const withSinks = (sinks: number[], Dv = 48) =>
  tensors(writeSafetensors({
    q: { shape: [6, 2, 32], dtype: "f32", data: numbers(6, 2, 32) },
    k: { shape: [9, 1, 32], dtype: "f32", data: numbers(9, 1, 32) },
    v: { shape: [9, 1, Dv], dtype: "f32", data: numbers(9, 1, Dv) },
    sinks: { shape: [sinks.length], dtype: "f32", data: Float32Array.from(sinks) },
  }));

test("V of another head size, and the tensor sinks of a .safetensors", async () => {
  const files = withSinks([0.5, -1]);
  const { facts, sinks } = await readOwn(files, engine);
  assert.deepEqual(sinks, Float32Array.of(0.5, -1));
  assert.deepEqual([facts.shape.D, facts.valueDim, facts.sinks], [32, 48, { shape: [2], dtype: "f32" }]);
  assert.deepEqual(tensorsOf({ files, facts }).map(({ name, shape }) => [name, ...shape]), [
    ["q", 6, 2, 32],
    ["k", 9, 1, 32],
    ["v", 9, 1, 48],
    ["sinks", 2],
  ]);
});

test("a file without v says how to run it", async () => {
  await assert.rejects(
    readOwn(tensors(safe([6, 2, 32], [6, 1, 32])), engine),
    /found no tensor "v"; the file holds .*; if V is the first elements of K's rows, .*: ringside attend --v-prefix DV$/,
  );
});

const nan = numbers(8, 2, 16).fill(NaN, 37, 38);
const bad: Readonly<Record<string, OwnFiles>> = {
  "no .npy": files({ k: new TextEncoder().encode("not a tensor") }),
  "cut short": files({ v: good.v.slice(0, -4) }),
  "two axes": files({ q: npy(5, 64) }),
  "not finite": files({ v: writeNpy([8, 2, 16], nan) }),
  "V unlike K": files({ v: npy(8, 1, 16) }),
  "another D": files({ k: npy(8, 2, 32), v: npy(8, 2, 32) }),
  "no query": files({ q: npy(0, 4, 16) }),
  "H no multiple of Hkv": files({ k: npy(8, 3, 16), v: npy(8, 3, 16) }),
  "no KV head": files({ k: npy(8, 0, 16), v: npy(8, 0, 16) }),
  "D = 18": { q: file("q.npy", npy(5, 4, 18)), k: file("k.npy", npy(8, 2, 18)), v: file("v.npy", npy(8, 2, 18)) },
  "fewer keys than queries": files({ k: npy(4, 2, 16), v: npy(4, 2, 16) }),
  "Dv = 18": tensors(safe([6, 2, 32], [6, 1, 32], [6, 1, 18])),
  "a sink too many": withSinks([1, 2, 3]),
  "a sink that is not finite": withSinks([1, Infinity]),
  "two axes in a .safetensors": tensors(safe([6, 64], [6, 1, 32], [6, 1, 32])),
  "no .safetensors": tensors(new Uint8Array(12).fill(9)),
};

for (const [name, own] of Object.entries(bad)) {
  test(`refused with the command line's message: ${name}`, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "own-"));
    try {
      const place: Record<string, string> = {};
      for (const [option, one] of Object.entries(own)) {
        await writeFile(place[option] = path.join(folder, one.name), new Uint8Array(await one.arrayBuffer()));
      }
      const failure = async (run: Promise<unknown>) =>
        await run.then(() => assert.fail("it was taken"), (error: Error) => error);
      const said = await failure(readTensors(place).then((read) => engineSequences(read)));
      const found = await failure(readOwn(own, engine));
      assert.equal(found.name, "InputError");
      assert.equal(found.message, said.message.replaceAll(`${folder}${path.sep}`, ""));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

async function engineSequences(read: Awaited<ReturnType<typeof readTensors>>): Promise<void> {
  const { sequencesFor } = await import("../../../engine/reference/compare/operands.ts");
  sequencesFor(read, undefined);
}

test("a file that can no longer be read says so", async () => {
  const gone = file("q.npy", good.q);
  gone.arrayBuffer = () => Promise.reject(new Error("it changed on disk"));
  await assert.rejects(
    readOwn({ ...files(), q: gone }, engine),
    /^InputError: q\.npy: cannot be read \(it changed on disk\), expected the file unchanged since you chose it; choose it again$/,
  );
});

test("a file's name says which tensor it is, if it names one", () => {
  for (
    const [name, letter] of [
      ["q.npy", "q"],
      ["K.NPY", "k"],
      ["layer3_v.npy", "v"],
      ["query.npy", "q"],
      ["my-keys-0.npy", "k"],
      ["Values.npy", "v"],
      ["a.npy", undefined],
      ["q_k.npy", undefined],
      ["vector.npy", undefined],
      ["constructor.npy", undefined],
    ] as const
  ) {
    assert.equal(letterOf(name), letter, name);
  }
});

test("files are read when there are three tensors; else they wait or are refused", () => {
  const { q, k, v } = files();
  const [a, b] = [file("a.npy", good.k), file("b.npy", good.v)];
  assert.deepEqual(sort([v, q, k], []), { files: { q, k, v } });
  const first: Sorted = { pending: [{ file: k, as: "k" }] };
  assert.deepEqual(sort([k], []), first);
  assert.deepEqual(sort([q, v], first.pending), { files: { q, k, v } });
  const unnamed = sort([q, a, b], []);
  assert.deepEqual(unnamed, {
    pending: [{ file: q, as: "q" }, { file: a, as: undefined }, { file: b, as: undefined }],
  });
  assert.deepEqual(settle([{ file: q, as: "q" }, { file: a, as: "v" }, { file: b, as: "k" }]), {
    files: { q, k: b, v: a },
  });
  const again = file("K.npy", good.k);
  assert.deepEqual(sort([again], first.pending), { pending: [{ file: again, as: "k" }] });
  const problem = (chosen: File[]) => {
    const sorted = sort(chosen, []);
    assert.ok("problem" in sorted);
    return sorted.problem;
  };
  assert.match(
    problem([file("notes.txt", good.q)]),
    /^notes\.txt: found neither \.npy nor \.safetensors, expected/,
  );
  assert.match(
    problem([file("x.safetensors", good.q), q]),
    /^x\.safetensors: found with another file, expected one \.safetensors alone, or three \.npy$/,
  );
  assert.match(problem([q, k, v, a]), /found 4 \.npy files, expected three: Q, K and V$/);
});

test("a report on own data names the files, and neither a seed nor an address", async () => {
  const own = { files: files(), facts: (await readOwn(files(), engine)).facts };
  const report = { ranks: 2 } as Parameters<typeof reportJson>[1];
  const told = JSON.parse(
    reportJson({ ...defaults, ...own.facts.shape }, report, 0, undefined, "https://example/?seed=1", own),
  );
  assert.equal(told.address, null);
  assert.equal("seed" in told.experiment, false);
  assert.deepEqual(told.inputs.k, { file: "k.npy", bytes: good.k.length, shape: [8, 2, 16], dtype: "f32" });
  assert.equal(JSON.parse(reportJson(defaults, report, 0, undefined, "https://example/?seed=1")).experiment.seed, 1);
});
