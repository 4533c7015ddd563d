// A text on trial: compiler messages name their line, a right edit passes the grid and is timed, wrong ones fail where
// they are wrong.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { readTexts, roleOf, suits, textUrls, tileKernelOf } from "../../../engine/bench/texts.ts";
import { bounded } from "../../../engine/bench/bounded.ts";
import type { Bench } from "../../../engine/bench/open.ts";
import { casesOf, type Message, Trials } from "../../../engine/bench/trial.ts";
import { timeBeside } from "../../../engine/bench/trial-time.ts";
import { testGpu } from "../../gpu.ts";
import { nodeFirst, thorough } from "../../tiers.ts";

const texts = await readTexts((url) => readFile(url, "utf8"));

async function trials(): Promise<Trials> {
  return new Trials((await testGpu()).gpu, texts);
}

function edited(name: string, from: string | RegExp, to: string): string {
  const text = typeof from === "string" ? texts[name].replaceAll(from, to) : texts[name].replace(from, to);
  assert.notEqual(text, texts[name], `${name} has no ${from}`);
  return text;
}

const errors = (messages: readonly Message[]) => messages.filter(({ kind }) => kind === "error");
const lineOf = (text: string, part: string) => text.split("\n").findIndex((line) => line.includes(part)) + 1;

test("roles follow the engine's tables; every kernel that runs use has a grid", async () => {
  const { gpu } = await testGpu();
  assert.equal(roleOf(tileKernelOf(gpu)), "tiles");
  assert.ok(suits(tileKernelOf(gpu), gpu) && suits("attend", gpu));
  assert.deepEqual(
    Object.keys(textUrls).map((name) => [name, roleOf(name), casesOf(name).length > 0]).filter(([, role]) =>
      role !== "tiles"
    ),
    [
      ["decode", "pieces", true],
      ["decode-subgroup4", "pieces", true],
      ["decode-subgroups", "pieces", true],
      ["merge", "merge", true],
      ["merge-parts", "merge", true],
      ["seeded", "inputs", false],
      ["bench-dot", "ceiling", false],
      ["bench-fma", "ceiling", false],
      ["bench-matrix", "ceiling", false],
      ["bench-copy", "ceiling", false],
    ],
  );
});

test("an error of syntax, and one of types, name their lines", async () => {
  const t = await trials();
  const broken = edited("attend", "let scale = params.scale * LOG2E;", "let scale = params.scale * LOG2E");
  const [first] = errors(await t.compile("attend", broken));
  assert.ok(Math.abs(first.line - lineOf(broken, "let scale")) <= 2, JSON.stringify(first));
  const wrong = edited("attend", "let row = thread.y * 4u;", "let row = thread.y * 4.5;");
  assert.ok(errors(await t.compile("attend", wrong)).some(({ line }) => line === lineOf(wrong, "let row =")));
});

test("the host needs its marked lines, the entry point, and every binding declared and used", async () => {
  const t = await trials();
  const said = async (text: string) => errors(await t.compile("merge", text)).map(({ message }) => message).join("\n");
  assert.match(await said(edited("merge", "fn merge", "fn merged")), /found merged, expected the entry point merge/);
  assert.match(await said(edited("merge", "{ lse[row] =", "{ let unused =")), /the host's bindings .* do not fit/s);
  const without = edited("merge", /@group\(0\) @binding\(4\).*\n/, "").replace(
    / {4}if \([^)]*\) \{ lse\[row\] = .*\n/,
    "",
  );
  assert.match(await said(without), /binding 4 \(lse\) is missing/);
  assert.match(
    errors(await t.compile("decode", edited("decode", "alias Q4 = ", "alias Q4="))).map(({ message }) => message)
      .join(),
    /the host replaces it/,
  );
});

test("a text that compiles as it stands and not for another head size is refused, and says for which", async () => {
  const t = await trials();
  const text = edited("decode", "fn row_of", "const_assert D == 64u;\nfn row_of");
  const [error] = errors(await t.compile("decode", text));
  assert.match(error.message, /D 128/);
  assert.equal(error.line, lineOf(text, "const_assert"));
});

test("a renamed variable passes the grid; a dropped scale and a key left out fail it", thorough, async () => {
  const t = await trials();
  const renamed = texts.decode.replaceAll("quads", "fours");
  assert.deepEqual(errors(await t.compile("decode", renamed)), []);
  const cases = (await t.check("decode", renamed))!;
  assert.equal(cases.length, casesOf("decode").length);
  for (const { label, passed, out } of cases) assert.ok(passed, `${label}: ${out.max}`);
  assert.ok(
    cases.some(({ label }) => label.endsWith("in f16")) && cases.some(({ label }) => label.endsWith("in bf16")),
  );
  assert.ok(cases.some(({ out }) => out.max > 0), "nothing differs at all: the check compares a result with itself");
  const failing = async (name: string, text: string) => {
    assert.deepEqual(errors(await t.compile(name, text)), []);
    return (await t.check(name, text))!.filter(({ passed }) => !passed);
  };
  assert.equal(
    (await failing("decode", edited("decode", "params.scale * LOG2E", "LOG2E"))).length >= cases.length - 1,
    true,
  );
  assert.ok(
    (await failing("decode", edited("decode", "i < count; i += GROUPS", "i + 1u < count; i += GROUPS"))).length > 0,
  );
});

test("merge.wgsl is checked where it runs, and both are timed in turns, results compared", thorough, async () => {
  const t = await trials();
  const steps: string[] = [];
  const again = `${texts.merge}// the same\n`;
  assert.deepEqual(errors(await t.compile("merge", again)), []);
  const cases = (await t.check("merge", again, undefined, (done, total, what) =>
    steps.push(`${done}/${total} ${what}`)))!;
  assert.ok(cases.every(({ passed, merged }) => passed && merged));
  assert.equal(steps.length, cases.length);
  const times = await t.time("merge", again, 3);
  assert.equal(times.length, 2);
  for (const { shipped, text, ratio, apart } of times) {
    assert.equal(shipped.all.length, 3);
    assert.ok(shipped.median > 0 && text.median > 0 && ratio.min <= ratio.median && ratio.median <= ratio.max);
    assert.deepEqual([apart.max, apart.within], [0, true]);
  }
  const wrong = edited(
    "merge",
    "let weight = select(0.0, exp(part - top)",
    "let weight = select(0.0, exp2(part - top)",
  );
  assert.ok((await t.check("merge", wrong))!.some(({ passed }) => !passed));
  assert.ok((await t.time("merge", wrong, 1)).every(({ apart }) => !apart.within));
});

test(
  "a result is checked at the timed size: an error that few tokens don't show, in one kernel and in both",
  thorough,
  async () => {
    const t = await trials();
    const late = edited(
      "decode",
      "let count = piece.z - piece.y;",
      "let count = piece.z - piece.y - u32(piece.y == 4096u);",
    );
    assert.ok((await t.check("decode", late))!.every(({ passed }) => passed));
    for (const { apart } of await t.time("decode", late, 1)) {
      assert.ok(
        !apart.within && apart.max > 1e-6,
        `${apart.max}`,
      );
    }
    // Beside itself nothing differs: float64 tells.
    const scaled = edited("merge", "exp(part - top)", "exp(1.01 * (part - top))");
    const wrong = new Trials((await testGpu()).gpu, { ...texts, merge: scaled });
    const times = await wrong.time("merge", scaled, 1);
    assert.ok(times.length > 0 && times.every(({ apart }) => apart.max === 0 && !apart.within));
  },
);

test(
  "beside the shipped result: near it in f32, right in f16 products, whose roundings differ by more",
  nodeFirst,
  async () => {
    const benches = { shipped: {} as Bench, own: {} as Bench };
    const judged = async (products: "f32" | "f16", off: number, right: boolean) => {
      const run = (bench: Bench, take?: (data: ArrayBuffer) => void) => {
        take?.(Float32Array.of(1, bench === benches.own ? off : 0).buffer);
        return Promise.resolve(1);
      };
      const measurement = { label: "", run, right: () => Promise.resolve(right), products, dispose: () => {} };
      return (await timeBeside(measurement, benches, 1, undefined, () => {})).apart.within;
    };
    assert.deepEqual(await Promise.all([judged("f32", 4e-6, true), judged("f32", 5e-6, true)]), [true, false]);
    assert.deepEqual(await Promise.all([judged("f16", 1e-3, true), judged("f16", 1e-3, false)]), [true, false]);
    assert.equal(await judged("f32", 0, false), false);
  },
);

test(
  "every shipped kernel computes the same with its loops bounded; a loop without end is cut off and named",
  thorough,
  async () => {
    const t = await trials();
    const { gpu } = await testGpu();
    for (const name of Object.keys(texts).filter((name) => casesOf(name).length > 0 && suits(name, gpu))) {
      assert.deepEqual(await t.ends(name, `${texts[name]}// edited\n`), {}, name);
    }
    const endings = [
      "while (true) {}",
      "loop { if (params.rows == 4294967295u) { break; } }",
      "for (var n: u32 = 0u; n < 2u; n += 0u) { let m = n; }",
    ];
    for (const ending of endings) {
      // Beside the result, which stays right: only the bound can tell.
      const found = await t.ends(
        "merge",
        edited("merge", "    var top: f32 = NONE;", `    ${ending}\n    var top: f32 = NONE;`),
      );
      assert.match(found.endless ?? "", /a loop took more than 8192 turns/, ending);
    }
    assert.match(
      (await t.ends("decode", edited("decode", "i < count; i += GROUPS", "i < count; i += 0u"))).endless ?? "",
      /seems to have no end/,
    );
    assert.equal(bounded(texts["bench-copy"]), undefined);
    assert.match(
      bounded(
        "@group(0) @binding(0) var<storage, read_write> o: array<f32>;\n" +
          "@compute @workgroup_size(1) fn f() { if (o[0] > 0) { return; } /* for { */ }",
      )!,
      /if \(o\[0\] > 0\) \{ if \(ringside_endless\) \{ for .* \} \} return; \} \/\* for \{ \*\/ if \(ringside_endless\)/,
    );
  },
);

test("a trial is cancelled between its steps", async () => {
  const t = await trials();
  const abort = new AbortController();
  await assert.rejects(t.check("merge", texts.merge, abort.signal, (done) => done === 2 && abort.abort()), {
    name: "AbortError",
  });
});
