// Check without a screen: what files are by their names, the settings in the address, the command line, the picture, and
// the worker's answers, on files as the page gets them.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { attenders } from "../../../engine/reference/compare/attender.ts";
import { rowHops } from "../../../engine/reference/compare/hops.ts";
import { Setting } from "../../../engine/reference/compare/setting.ts";
import { readHops } from "../../../engine/trace/hops.ts";
import { readKineto } from "../../../engine/trace/kineto.ts";
import { writeNpy } from "../../../engine/tensor/npy.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import type { Outcome } from "../../../web/views/check/ask.ts";
import { commandOf } from "../../../web/views/check/command.ts";
import { checked, holdsOf } from "../../../web/views/check/compute.ts";
import { gapsOf, type Given, meantBy, ranksOf, sortFiles } from "../../../web/views/check/names.ts";
import { answer, bandsOf, layoutCommand, movedOf } from "../../../web/views/check/layouts/model.ts";
import { stepsOf, stepView, sumsOf } from "../../../web/views/check/traces/model.ts";
import * as layouts from "../../../web/views/check/layouts/state.ts";
import { dealingOf, pictureOf, wrongBlocks } from "../../../web/views/check/picture.ts";
import { defaults, type Draft, fromQuery, layoutNames, read, toQuery } from "../../../web/views/check/state.ts";
import { sayShare, verdict } from "../../../web/views/check/words.ts";
import { checkCase, D, H, Hkv, N } from "../../check-case.ts";

const T = 48;
const { sequences, part, ...made } = checkCase(T);
const file = (name: string, bytes: Uint8Array<ArrayBuffer>) => new File([bytes], name);
const inputs = file("qkv.safetensors", made.inputs);

async function run(files: readonly File[], draft: Partial<Draft> = {}): Promise<Outcome> {
  const given = await Promise.all(
    files.map(async (one): Promise<Given> => ({ name: one.name, holds: await holdsOf(one) ?? undefined })),
  );
  const { settings } = read({ ...defaults, ...draft });
  const asked = { files, sorted: sortFiles(given), settings: settings!, backend: "cpu" as const };
  assert.deepEqual(asked.sorted.problems, []);
  return await checked(
    asked,
    () => attenders({ runtime: "node", shaders: () => assert.fail("no shader is needed") }, "cpu"),
    () => {},
  );
}

test("names say what a file is, and which rank and hop", () => {
  const meant = (name: string, holds?: string[]) => {
    const what = meantBy({ name, holds });
    return typeof what === "string" ? what : [what.parts.join(), what.rank, what.hop, what.pattern];
  };
  assert.deepEqual(meant("o_rank2.npy"), ["o", 2, undefined, "o_rank{rank}.npy"]);
  assert.deepEqual(meant("lse-r10.npy"), ["lse", 10, undefined, "lse-r{rank}.npy"]);
  assert.deepEqual(meant("p_r1_h3.safetensors", ["o", "lse"]), ["o,lse", 1, 3, "p_r{rank}_h{hop}.safetensors"]);
  assert.deepEqual(meant("hop2.rank0.npz", ["out"]), ["o", 0, 2, "hop{hop}.rank{rank}.npz"]);
  assert.deepEqual(meant("p_3_1.npy"), ["o", 3, 1, "p_{rank}_{hop}.npy"]);
  assert.deepEqual(meant("l_0.npy"), ["lse", 0, undefined, "l_{rank}.npy"]);
  assert.deepEqual(meant("o_rank02.npy"), ["o", 2, undefined, undefined]);
  assert.deepEqual(meant("layer3_q.npy"), ["q", undefined, undefined, "layer3_q.npy"]);
  assert.deepEqual(meant("qkv_3.safetensors", ["q", "k", "v"]), ["q,k,v", undefined, undefined, "qkv_3.safetensors"]);
  assert.match(meant("q_rank1.npy") as string, /^q_rank1.npy: found q of one rank|^q_rank1/);
  assert.match(meant("x.npy") as string, /^x.npy: found no q, k, v, o or lse in its name/);
  assert.match(meant("x.pt") as string, /^x.pt: found no .npy/);
  assert.match(meant("x.safetensors", ["a"]) as string, /^x.safetensors: found tensors a, expected/);
  assert.match(meant("x.npz") as string, /^x.npz: cannot be read/);
});

test("files are sorted into inputs and results; missing and duplicate ones are reported", () => {
  const names = (...all: string[]) => sortFiles(all.map((name) => ({ name })));
  assert.deepEqual(names().missing, ["q, k and v", "their result"]);
  const shards = names("q.npy", "k.npy", "v.npy", "o_rank0.npy", "o_rank1.npy", "lse_rank0.npy", "lse_rank1.npy");
  assert.equal(shards.kind, "shards");
  assert.equal(ranksOf(shards), 2);
  assert.equal(gapsOf(shards, 2), undefined);
  assert.match(gapsOf(shards, 3)!, /^found no O of rank 2, expected it for each of 3 ranks/);
  assert.match(gapsOf(shards, 1)!, /^found a file of rank 1, expected ranks 0 to 0/);
  assert.match(gapsOf(names("p_r0_h0.npy", "p_r0_h1.npy", "p_r1_h0.npy"), 2)!, /^found no O of rank 1, hop 1/);
  assert.match(names("o_rank0.npy", "o-r0.npy").problems[0], /^o_rank0.npy and o-r0.npy: found O of rank 0 in both/);
  assert.match(names("o.npy", "o_rank0.npy").problems[0], /found results of different kinds/);
  // A file of everything is checked alone, and gives the inputs alone beside another result.
  const all = { name: "case.safetensors", holds: ["q", "k", "v", "o", "lse"] };
  assert.deepEqual(sortFiles([all]).kind, "theirs");
  const beside = sortFiles([all, { name: "out.npz", holds: ["o"] }]);
  assert.deepEqual([beside.o.map((one) => one.file), beside.lse, beside.problems], [[1], [], []]);
  assert.deepEqual(beside.says, ["q, k and v", "their O"]);
});

test("the address gives back every setting, and leaves the rest of it alone", () => {
  const drafts = fc.record({
    layout: fc.constantFrom("none", ...layoutNames()),
    ranks: fc.integer({ min: 1, max: 1024 }).map(String),
    variant: fc.constantFrom("pass-kv", "pass-q"),
    mask: fc.constantFrom("causal", "full", "window:16", "window:1024+4", "chunk:8192"),
    dtype: fc.constantFrom("auto", "f32", "f16", "bf16"),
  }, { noNullPrototype: true });
  fc.assert(fc.property(drafts, (draft) => {
    const query = toQuery(draft, "?N=4&mask=full");
    assert.deepEqual(fromQuery(`?${query}`), draft);
    assert.match(query, /N=4&mask=full/);
    assert.ok(read(draft).settings !== undefined);
  }));
  const { problems } = read({ layout: "tea", ranks: "0", variant: "x", mask: "window:0", dtype: "f8" });
  assert.deepEqual([...problems.keys()], ["layout", "ranks", "variant", "mask", "dtype"]);
  assert.match(problems.get("layout")!, /^Layout: found tea, expected none or ringside, te/);
});

test("the command line checks the same", () => {
  const sorted = sortFiles([
    { name: "my qkv.safetensors", holds: ["q", "k", "v"] },
    ...[0, 1].map((rank) => ({ name: `o_rank${rank}.npy` })),
  ]);
  const settings = read({ ...defaults, layout: "te", ranks: "2", mask: "window:16+4", dtype: "bf16" }).settings!;
  assert.equal(
    commandOf(sorted, settings),
    "npx ringside-cp compare --tensors 'my qkv.safetensors' --shards 'o_rank{rank}.npy' --layout te --ranks 2 " +
      "--mask window:16+4 --dtype bf16",
  );
  assert.equal(commandOf(sortFiles([{ name: "q.npz", holds: ["q"] }]), settings), undefined);
});

test("the picture is drawn where a layout deals as Ringside does, and crosses what is wrong", () => {
  assert.equal(dealingOf("te", 4, 48), "head-tail");
  assert.equal(dealingOf("te", 4, 50), undefined);
  assert.equal(dealingOf("ringside", 4, 50), "head-tail");
  assert.equal(dealingOf("contiguous", 4, 50), "contiguous");
  assert.equal(dealingOf("striped", 4, 48), undefined);
  const { settings } = read({ ...defaults, layout: "te" });
  const picture = pictureOf(settings!, { sequences }, 0)!;
  const grid = [{ rank: 2, hop: 1, rows: 4, wrong: 1 }, { rank: 0, hop: 0, rows: 4, wrong: 0 }];
  const wrong = picture.blocks.filter(wrongBlocks(picture, grid));
  assert.ok(wrong.length > 0 && wrong.every(({ rank, hop }) => rank === 2 && hop === 1));
  const whole = picture.blocks.filter(wrongBlocks(picture, [{ rank: 1, hop: null, rows: 4, wrong: 1 }]));
  assert.ok(whole.every(({ query }) => picture.queries[query].owner === 1));
});

test("a right result agrees: whole, alone in one file with its inputs, and in shards", async () => {
  const whole = part(Int32Array.from({ length: T }, (_, row) => row));
  const out = file("out.safetensors", writeSafetensors(whole));
  const { found, sizes, dtype } = await run([inputs, out]);
  assert.ok(found.ok);
  assert.deepEqual([sizes.heads, sizes.kvHeads, sizes.headDim, dtype], [H, Hkv, D, "f32"]);
  assert.equal(verdict(found, false), "Agrees: all 192 rows and heads of O and LSE are within their bound.");
  const setting = new Setting("striped", N, "pass-kv", sequences);
  const shards = setting.rows.map((own, rank) => {
    const { o } = part(own);
    return file(`o_rank${rank}.npy`, writeNpy(o.shape, o.data));
  });
  assert.ok((await run([inputs, ...shards], { layout: "striped" })).found.ok);
});

for (const variant of ["pass-kv", "pass-q"] as const) {
  test(`${variant}: a fault in one hop is located and named, and the row's other hops are right`, async () => {
    const setting = new Setting("te", N, variant, sequences);
    const [badRank, badHop] = [2, 1];
    const files = setting.rows.flatMap((_, rank) =>
      setting.rows.map((_, hop) => {
        const { queries, keys } = setting.meets(rank, hop);
        const scale = rank === badRank && hop === badHop ? 1 : undefined;
        return file(
          `p_r${rank}_h${hop}.safetensors`,
          writeSafetensors(part(setting.rows[queries], setting.keys[keys], scale)),
        );
      })
    );
    const { found, hops } = await run([inputs, ...files], { layout: "te", variant });
    assert.deepEqual([found.ok, found.first?.rank, found.first?.hop], [false, badRank, badHop]);
    assert.equal(found.hypotheses[0].name, "scale-missing");
    assert.equal(hops.length, N);
    assert.deepEqual(hops.map(({ off }) => off !== null), [0, 1, 2, 3].map((hop) => hop === badHop));
    assert.ok(hops.every((hop) => hop.found !== null && hop.worst !== null));
    assert.match(
      verdict(found, true),
      /^Differs, first at rank 2, hop 1, token \d+, head 0: .* scale-missing explains 100 % of them/,
    );
  });
}

test("partials of all hops so far: the exact row beside them is of all hops so far too", async () => {
  const setting = new Setting("contiguous", N, "pass-kv", sequences);
  const files = setting.rows.flatMap((own, rank) =>
    setting.rows.map((_, hop) => {
      const held = Array.from({ length: hop + 1 }, (_, j) => setting.keys[setting.meets(rank, j).keys]).flat();
      const scale = rank === 3 && hop >= 2 ? 1 : undefined;
      return file(`p_${rank}_${hop}.safetensors`, writeSafetensors(part(own, held, scale)));
    })
  );
  const { found, hops } = await run([inputs, ...files], { layout: "contiguous" });
  assert.deepEqual([found.reading, found.first?.rank, found.first?.hop], ["so-far", 3, 2]);
  assert.deepEqual(hops.map(({ off }) => off !== null), [false, false, true, true]);
});

test("a row may see more keys at a hop than a call takes arguments", () => {
  const [keys, cases] = [300_000, [{ new: 1, cached: 299_999 }]];
  const setting = new Setting("contiguous", 2, "pass-kv", cases);
  const data = new Float32Array(keys * 16);
  const problem = { q: data.slice(0, 16), k: data, v: data, heads: 1, kvHeads: 1, headDim: 16, sequences: cases };
  const hops = rowHops({ ...problem, dtype: "f32" }, [], setting, "so-far", { token: 0, head: 0, rank: 0 });
  assert.deepEqual(hops.map(({ seen }) => seen), [150_001, 149_999]);
});

test("what can't be checked is one clear line", async () => {
  const refused = async (files: File[], draft: Partial<Draft>, message: RegExp) => {
    const error = await run(files, draft).then(() => assert.fail("it was checked"), (e: Error) => e);
    assert.equal(error.name, "InputError");
    assert.match(error.message, message);
    assert.ok(!error.message.includes("\n"));
  };
  const o = (shape: number[], name = "o.npy") =>
    file(name, writeNpy(shape, new Float32Array(shape.reduce((a, b) => a * b))));
  await refused([inputs, o([T, H, D + 4])], {}, /^o.npy: found shape \[48, 4, 20\], expected \[48, 4, 16\]/);
  await refused([inputs, o([T, H, D])], { layout: "zigzag", ranks: "5" }, /expected a multiple of 10/);
  await refused([inputs, o([12, H, D], "o_rank0.npy")], { layout: "te", ranks: "4" }, /^found no O of rank 1/);
  const broken = file("q.npy", new Uint8Array([1, 2, 3]));
  await refused([broken, o([T, Hkv, D], "k.npy"), o([T, Hkv, D], "v.npy"), o([T, H, D])], {}, /^q.npy/);
});

test("shares never read as none or all if they are not", () => {
  assert.deepEqual([[0, 5], [1, 5000], [4999, 5000], [5, 5], [1, 4]].map(([a, b]) => sayShare(a, b)), [
    "0",
    "< 1 %",
    "> 99 %",
    "100 %",
    "25 %",
  ]);
});

test("layouts: the address gives back the question, and each answer's tokens are all there", () => {
  const drafts = fc.record({
    left: fc.constantFrom(...layoutNames()),
    leftRanks: fc.integer({ min: 1, max: 9 }).map(String),
    right: fc.constantFrom(...layoutNames()),
    rightRanks: fc.integer({ min: 1, max: 9 }).map(String),
    tokens: fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 3 }).map((all) => all.join(",")),
    mask: fc.constantFrom("causal", "full", "window:16+4", "chunk:32"),
  }, { noNullPrototype: true });
  fc.assert(
    fc.property(drafts, (draft) => {
      assert.deepEqual(layouts.fromQuery(`?${layouts.toQuery(draft, "?N=4")}`), draft);
      const { question } = layouts.read(draft);
      const { left, right, transfers, tokens, bins } = answer(question!);
      for (const side of [left, right]) {
        if ("refused" in side) continue;
        assert.equal(side.perRank.reduce((sum, rank) => sum + rank.tokens, 0), tokens);
        const size = Math.ceil(tokens / 256);
        for (const [rank, bands] of side.bands.entries()) {
          let held = 0;
          for (const { from, to, share } of bands) {
            for (let bin = from; bin < to; bin++) held += share * Math.min(size, tokens - bin * size);
          }
          assert.equal(Math.round(held), side.perRank[rank].tokens);
          assert.ok(bands.every(({ to }) => to <= bins));
        }
      }
      assert.equal(transfers === undefined, "refused" in left || "refused" in right);
      if (transfers !== undefined) assert.equal(movedOf(transfers).all, tokens);
    }),
    { numRuns: 60 },
  );
  const { problems } = layouts.read({ ...layouts.defaults, left: "x", leftRanks: "0", tokens: "0,5", mask: "" });
  assert.deepEqual([...problems.keys()], ["left", "leftRanks", "tokens", "mask"]);
  assert.equal(
    layoutCommand(layouts.read({ ...layouts.defaults, tokens: "4096, 300", rightRanks: "8" }).question!),
    "npx ringside-cp layout --layout te --ranks 4 --sequences 4096,300 --to vllm-dcp:16 --to-ranks 8",
  );
  assert.deepEqual(bandsOf(Int32Array.of(0, 1, 4, -1), 2, 5), [{ from: 0, to: 1, share: 1 }, {
    from: 2,
    to: 3,
    share: 1,
  }]);
});

test("traces: a step's hops by rank, and its spans from 0", () => {
  const traces = [0, 1].map((rank) => {
    const event = (cat: string, name: string, ts: number, dur: number) => ({ ph: "X", cat, name, ts, dur, args: {} });
    const ring = (at: number, n: number) => [
      event("user_annotation", `ProfilerStep#${n}`, at - 10, 2500),
      event("kernel", "flash_fwd_kernel", at, 1000),
      event("kernel", "ncclDevKernel_SendRecv", at, 1400),
      event("kernel", "flash_fwd_kernel", at + 1401, 900),
    ];
    // Each machine has its own clock.
    const events = [...ring(1000, 1), ...ring(5000, 2)].map((e) => ({ ...e, ts: e.ts + 1e6 * rank }));
    const info = { rank, world_size: 2 };
    return readKineto(JSON.stringify({ distributedInfo: info, traceEvents: events }), `rank${rank}.json`);
  });
  const reading = readHops(traces);
  assert.deepEqual(stepsOf(reading), [1, 2]);
  const { hops, steps, spans, seconds, late } = stepView(reading, 2);
  assert.deepEqual([hops.length, hops[0].length, steps.length, late.length], [1, 2, 2, 0]);
  for (const hop of hops[0]) {
    assert.ok(Math.abs(hop!.exposed - 400e-6) < 1e-9);
    assert.ok(Math.abs(hop!.hidden - 1000e-6) < 1e-9);
  }
  const { communication, exposed } = sumsOf({ steps });
  assert.ok(Math.abs(communication - 2800e-6) < 1e-9 && Math.abs(exposed - 800e-6) < 1e-9);
  // Attention, a message and a wait of each rank: those of the other step are not among them.
  assert.equal(spans.length, 2 * 4);
  assert.ok(spans.every(({ start, duration }) => start >= 0 && start + duration <= seconds + 1e-9));
});
