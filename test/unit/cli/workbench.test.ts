/** `ringside compare`, `layout` and `vectors` as a user calls them: files in, verdict and exit status out. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { compare } from "../../../engine/cli/compare.ts";
import { layout } from "../../../engine/cli/layout.ts";
import { vectors } from "../../../engine/cli/vectors.ts";
import { VECTORS } from "../../../engine/reference/compare/vectors.ts";
import { Setting } from "../../../engine/reference/compare/setting.ts";
import { readSafetensors, writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { writeNpy } from "../../../engine/tensor/npy.ts";
import type { Tensor } from "../../../engine/tensor/tensor.ts";
import { attend, problemOf, shardsOf } from "../compare/plant.ts";
import { call, inFolder } from "./command.ts";

const f32 = (shape: readonly number[], data: Float32Array): Tensor => ({ shape, dtype: "f32", data });
const p = problemOf({ sequences: [{ new: 40, cached: 0 }] });
const [T, H, D] = [40, p.heads, p.headDim];
const QKV = writeSafetensors({
  q: f32([T, H, D], p.q),
  k: f32([T, p.kvHeads, D], p.k),
  v: f32([T, p.kvHeads, D], p.v as Float32Array),
});
/** O and LSE of all rows, by a program. */
function whole(program: Parameters<typeof attend>[3] = {}) {
  const [o, lse] = [new Float32Array(T * H * D), new Float32Array(T * H)];
  for (let row = 0; row < T; row++) {
    for (let h = 0; h < H; h++) {
      const made = attend(p, row, h, program);
      o.set(made.o, (row * H + h) * D);
      lse[row * H + h] = made.lse;
    }
  }
  return { o, lse };
}
const RIGHT = whole();
const turned = (x: Float32Array, width: number) => {
  const out = new Float32Array(x.length);
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < H; h++) {
      out.set(x.subarray((t * H + h) * width, (t * H + h + 1) * width), (h * T + t) * width);
    }
  }
  return out;
};

/** Calls compare in a folder with these files. */
async function compares(files: Readonly<Record<string, Uint8Array>>, options: readonly string[]) {
  return await inFolder(async (folder) => {
    for (const [name, bytes] of Object.entries({ "qkv.safetensors": QKV, ...files })) {
      await writeFile(path.join(folder, name), bytes);
    }
    const here = options.map((
      option,
    ) => (/\.(npy|npz|safetensors|pt)$/.test(option) ? path.join(folder, option) : option));
    return await call(compare, ["--tensors", path.join(folder, "qkv.safetensors"), "--backend", "cpu", ...here]);
  });
}

const out = (o: Float32Array, lse: Float32Array) => writeSafetensors({ o: f32([T, H, D], o), lse: f32([T, H], lse) });

test("a right result agrees with status 0, in every order of axes; a wrong one differs with status 1", async () => {
  const right = await compares({ "out.safetensors": out(RIGHT.o, RIGHT.lse) }, ["--theirs", "out.safetensors"]);
  assert.equal(right.status, 0);
  assert.match(right.stdout, /^agrees {4}all 160 rows and heads of O and LSE\n/);
  const other = writeSafetensors({
    out: f32([1, H, T, D], turned(RIGHT.o, D)),
    lse: f32([1, H, T, 1], turned(RIGHT.lse, 1)),
  });
  assert.equal((await compares({ "out.safetensors": other }, ["--theirs", "out.safetensors"])).status, 0);
  const files = { "o.npy": writeNpy([H, T, D], turned(RIGHT.o, D)), "lse.npy": writeNpy([T, H], RIGHT.lse) };
  assert.equal((await compares(files, ["--theirs", "o.npy", "--lse", "lse.npy"])).status, 0);
  const wrong = whole({ scale: 1 });
  const ended = await compares({ "out.safetensors": out(wrong.o, wrong.lse) }, [
    "--theirs",
    "out.safetensors",
    "--json",
  ]);
  const { ok, first, hypotheses, grid, worst } = JSON.parse(ended.stdout);
  assert.deepEqual([ended.status, ok, hypotheses[0].name, hypotheses[0].explains], [1, false, "scale-missing", 1]);
  assert.deepEqual([first.rank, first.hop, first.token, first.place, first.head], [0, null, 0, 0, 0]);
  for (const name of ["found", "expected", "bound"]) assert.equal(typeof first[name], "number");
  assert.ok(Array.isArray(grid) && worst.share !== 0);
});

test("--names: {layer} in the inputs' names, in the result's, or in both", async () => {
  const { q, ...rest } = readSafetensors(QKV, "qkv", ["q", "k", "v"]);
  const layered = { "qkv.safetensors": writeSafetensors({ "l.3.q": q, ...rest }) };
  const result = (name: string) => ({ "out.safetensors": writeSafetensors({ [name]: f32([T, H, D], RIGHT.o) }) });
  const named = async (files: Readonly<Record<string, Uint8Array>>, names: string, layer = ["--layer", "3"]) =>
    await compares(files, ["--theirs", "out.safetensors", "--names", names, ...layer]);
  assert.equal((await named({ ...layered, ...result("o") }, "q=l.{layer}.q")).status, 0);
  assert.equal((await named(result("l.3.o"), "o=l.{layer}.o")).status, 0);
  assert.equal((await named({ ...layered, ...result("l.3.o") }, "q=l.{layer}.q,o=l.{layer}.o")).status, 0);
  await assert.rejects(named(result("x"), "o=x"), /^InputError: --layer: found 3, but no name has {layer}/);
  await assert.rejects(named(result("x"), "o={layer}", []), /^InputError: --names: found {layer} without --layer/);
});

test("shards by rank in Transformer Engine's layout, and partials by rank and hop: the place is named", async () => {
  const setting = new Setting("te", 4, "pass-kv", p.sequences);
  const planted = (row: number, rank: number) => rank === 2 && row === setting.rows[2][3];
  const shards = shardsOf(
    p,
    setting,
    ({ row, head, rank }) => attend(p, row, head, planted(row, rank) ? { sees: () => true } : {}),
  );
  const files: Record<string, Uint8Array> = {};
  for (const { rank, rows, o, lse } of shards) {
    files[`o_${rank}.npy`] = writeNpy([rows.length, H, D], o!);
    files[`l_${rank}.npy`] = writeNpy([rows.length, H], lse!);
  }
  const ended = await compares(files, [
    "--shards",
    "o_{rank}.npy",
    "--lse",
    "l_{rank}.npy",
    "--layout",
    "te",
    "--ranks",
    "4",
  ]);
  assert.equal(ended.status, 1);
  assert.match(
    ended.stdout,
    new RegExp(`first {5}rank 2, token ${setting.rows[2][3]}, place 3 of its shard, head 0: `),
  );
  assert.match(ended.stdout, /no-mask: every query sees every key/);
});

test("what cannot be read: one line that says what to do, and status 2", async () => {
  const refuses = async (files: Readonly<Record<string, Uint8Array>>, options: readonly string[], says: RegExp) =>
    await assert.rejects(compares(files, options), { name: "InputError", message: says });
  const good = { "out.safetensors": out(RIGHT.o, RIGHT.lse) };
  await refuses(good, [], /^--theirs: not given, expected --theirs F, --shards PATTERN or --partials PATTERN$/);
  await refuses(good, ["--theirs", "none.safetensors"], /cannot be read \(ENOENT\), expected a file$/);
  await refuses(
    { "out.pt": QKV },
    ["--theirs", "out.pt"],
    /PyTorch's own kind, which can run code; save its tensors with safetensors\.torch/,
  );
  await refuses(
    good,
    ["--shards", "o.npy", "--layout", "te", "--ranks", "2"],
    /found no \{rank\}, expected a pattern with \{rank\}$/,
  );
  await refuses(good, ["--theirs", "out.safetensors", "--layout", "te"], /^--layout: found without --ranks/);
  await refuses(good, ["--theirs", "out.safetensors", "--ranks", "2"], /^--ranks: found without --layout/);
  await refuses(good, ["--shards", "o_{rank}.npy"], /^--shards: found without --layout and --ranks/);
  await refuses(
    good,
    ["--shards", "o_{rank}.npy", "--layout", "zigzag", "--ranks", "3"],
    /^layout zigzag: found a sequence of 40 tokens, expected a multiple of 6/,
  );
  await refuses({ "out.safetensors": writeSafetensors({ x: f32([1], new Float32Array(1)) }) }, [
    "--theirs",
    "out.safetensors",
  ], /found no tensor o and no lse/);
  // A batch's axis hides no rows of padding.
  const o = writeNpy([T, H, D], new Float32Array(T * H * D));
  await refuses(
    { "o.npy": o },
    ["--theirs", "o.npy", "--lse", "o.npy"],
    /found shape \[40, 4, 16\], expected \[40, 4\]/,
  );
  const odd = { "o.npy": writeNpy([T, H, D + 4], new Float32Array(T * H * (D + 4))) };
  await refuses(
    odd,
    ["--theirs", "o.npy"],
    /found shape \[40, 4, 20\], expected \[40, 4, 16\] or its axes in another order/,
  );
});

test("four heads of four tokens: an LSE that fits two orders is asked about", async () => {
  const small = problemOf({ sequences: [{ new: 4, cached: 0 }] });
  const tensors = {
    q: f32([4, H, D], small.q),
    k: f32([4, 2, D], small.k),
    v: f32([4, 2, D], small.v as Float32Array),
  };
  const files = {
    "qkv.safetensors": writeSafetensors(tensors),
    "lse.npy": writeNpy([4, 4], Float32Array.from({ length: 16 }, (_, i) => i)),
    "o.npy": writeNpy([4, H, D], new Float32Array(4 * H * D)),
  };
  await assert.rejects(
    compares(files, ["--theirs", "o.npy", "--lse", "lse.npy"]),
    /lse\.npy: found shape \[4, 4\], which fits th and ht; expected --lse-dims to say which$/,
  );
});

test("golden vectors: small, the same every time, and right by compare", async () => {
  await inFolder(async (folder) => {
    const { stdout } = await call(vectors, ["--out", folder]);
    assert.match(stdout, new RegExp(`^${VECTORS.length} cases, [0-4]\\.\\d\\d MB in `));
    const names = (await readdir(folder)).filter((name) => name.endsWith(".safetensors"));
    assert.deepEqual(names.sort(), VECTORS.map(({ name }) => `${name}.safetensors`).sort());
    const manifest = JSON.parse(await readFile(path.join(folder, "manifest.json"), "utf8"));
    assert.equal(manifest.version, 1);
    for (const one of manifest.cases) {
      const file = path.join(folder, one.file);
      const named = readSafetensors(await readFile(file), one.file, Object.keys(one.tensors));
      for (const [name, { shape }] of Object.entries<{ shape: number[] }>(one.tensors)) {
        assert.deepEqual(named[name].shape, shape);
      }
      const sequences = one.sequences.map((s: { new: number; cached: number }) => `${s.new}:${s.cached}`).join();
      const ended = await call(compare, [
        "--tensors",
        file,
        "--theirs",
        file,
        "--mask",
        one.mask,
        "--sequences",
        sequences,
        "--backend",
        "cpu",
        "--dtype",
        "f32",
      ]);
      assert.equal(ended.status, 0, `${one.name}: ${ended.stdout}`);
    }
    const [first] = manifest.cases;
    const bytes = await readFile(path.join(folder, first.file));
    await call(vectors, ["--out", folder, "--case", first.name]);
    assert.deepEqual(await readFile(path.join(folder, first.file)), bytes);
  });
  await assert.rejects(call(vectors, []), /^InputError: --out: not given/);
  await assert.rejects(call(vectors, ["--out", "x", "--case", "decode-pass-q"]), /did you mean decode-pass-q-4\?$/);
});

test("a layout: tokens, padding, work, bytes a hop, transfers, and the order as a file", async () => {
  await inFolder(async (folder) => {
    const perm = path.join(folder, "perm.npy");
    const { stdout } = await call(layout, [
      "--layout",
      "te",
      "--sequences",
      "6,8",
      "--ranks",
      "2",
      "--shape",
      "4,2,16",
      "--json",
      "--out",
      perm,
    ]);
    const facts = JSON.parse(stdout);
    assert.deepEqual(
      facts.perRank.map(({ tokens, padding }: { tokens: number; padding: number }) => [tokens, padding]),
      [[6, 2], [8, 0]],
    );
    // Causal pairs of 6 and of 8 tokens.
    assert.equal(facts.perRank.reduce((sum: number, { pairs }: { pairs: number }) => sum + pairs, 0), 21 + 36);
    assert.deepEqual(facts.hopBytes, { passKv: 8 * 2 * 2 * 16 * 2, passQ: 8 * 4 * 16 * 2 });
    const order = [...new BigInt64Array((await readFile(perm)).buffer.slice(0).slice(-16 * 8))].map(Number);
    assert.deepEqual(order, [0, 1, -1, -1, 6, 7, 12, 13, 2, 3, 4, 5, 8, 9, 10, 11]);
    const text =
      (await call(layout, ["--layout", "vllm-pcp", "--to", "vllm-dcp:16", "--sequences", "256", "--ranks", "4"]))
        .stdout;
    assert.match(text, /to vllm-dcp:16 on 4 ranks: 192 of 256 tokens move, in 12 contiguous runs/);
  });
  const striped = ["--layout", "striped", "--to", "vllm-dcp:16", "--sequences", "1M", "--ranks", "8"];
  const bounded = (await call(layout, [...striped, "--json"])).stdout;
  assert.ok(bounded.length < 1_000_000, `${bounded.length} characters of JSON`);
  const { perRank, transfers } = JSON.parse(bounded);
  assert.deepEqual([perRank[0].contiguousRuns, perRank[0].runs.length], [125_000, 277]);
  assert.deepEqual([transfers.list[0].contiguousRuns, transfers.list[0].runs.length], [15_626, 277]);
  assert.equal(
    JSON.parse((await call(layout, [...striped, "--json", "--runs", "3"])).stdout).perRank[0].runs.length,
    3,
  );
  const refuses = (args: readonly string[], says: RegExp) =>
    assert.rejects(call(layout, ["--layout", "te", "--ranks", "2", ...args]), { name: "InputError", message: says });
  await refuses(
    ["--sequences", "1e9"],
    /^--sequences: found 1,000,000,000 tokens in all, expected at most 16,777,216; /,
  );
  await refuses(["--sequences", "1m"], /^--sequences: found "1m", expected .*; did you mean 1M\?$/);
  await refuses(["--sequences", "4,5", "--cached", "1"], /^--cached: found 1 number, expected 2, one for each of /);
  await refuses(["--sequences", "4", "--runs", "1"], /^--runs: found without --json/);
  await assert.rejects(call(layout, ["--layout", "te", "--ranks", "2"]), /^InputError: --sequences: not given/);
  await assert.rejects(
    call(layout, ["--layout", "te", "--ranks", "2", "--sequences", "5,x"]),
    /^InputError: --sequences: found "x"/,
  );
});
