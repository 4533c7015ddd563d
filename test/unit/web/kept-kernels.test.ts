// Kept kernels: their number is bounded, their storage is not trusted, and a text that fails its check is marked.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readFile } from "node:fs/promises";
import { readShaders, replaced, sayKernels } from "../../../engine/gpu/shaders.ts";
import { fingerprint, type KeptKernel, KeptKernels, MOST, sayKeptKernel } from "../../../web/lib/kept-kernels.ts";
import { changedLines } from "../../../web/views/shaders/changes.ts";

/** The part of localStorage that is used. */
function storage(content: Record<string, string> = {}, broken = false): Storage & { content: Record<string, string> } {
  const refuse = () => {
    throw new Error("QuotaExceeded");
  };
  return {
    content,
    getItem: (key: string) => content[key] ?? null,
    setItem: (key: string, value: string) => (broken ? refuse() : void (content[key] = value)),
  } as never;
}

const kernel = (more: Partial<KeptKernel> = {}, passed = true): KeptKernel => ({
  name: "wide",
  kernel: "attend",
  text: "// wide",
  base: fingerprint("// shipped"),
  kept: "2026-11-23T00:00:00.000Z",
  check: {
    passed,
    cases: 18,
    failed: passed ? 0 : 3,
    out: 1e-7,
    lse: 2e-7,
    adapter: "test",
    software: true,
    ratios: [0.97],
  },
  ...more,
});

test("a kernel is kept, chosen, renamed and deleted, and a reload changes nothing", () => {
  const kept = storage();
  const all = new KeptKernels(kept);
  let changes = 0;
  all.addEventListener("change", () => changes++);
  assert.equal(all.keep(kernel({ name: "  wide " })), undefined);
  assert.equal(all.keep(kernel({ kernel: "decode", text: "// d" })), undefined);
  assert.deepEqual(all.shaders, {});
  assert.equal(all.stamp, "");
  all.choose("attend", "wide");
  all.choose("attend", "of no such name");
  assert.deepEqual(all.shaders, { attend: { name: "your kernel wide", text: "// wide" } });
  const before = all.stamp;
  assert.equal(all.keep(kernel({ text: "// wider" })), undefined);
  assert.notEqual(all.stamp, before, "ranks with the old text are not reused");
  assert.equal(all.all.length, 2);
  assert.equal(all.rename("attend", "wide", "wider"), undefined);
  assert.equal(all.chosen("attend")?.name, "wider");
  const again = new KeptKernels(kept);
  assert.deepEqual([again.all, again.inUse, again.stamp], [all.all, all.inUse, all.stamp]);
  again.delete("attend", "wider");
  assert.deepEqual([again.shaders, again.all.map((one) => one.kernel)], [{}, ["decode"]]);
  again.choose("decode", "wide");
  again.chooseShipped();
  assert.deepEqual([again.inUse, again.all.length], [[], 1]);
  assert.ok(changes >= 5);
});

test("a text that cannot be kept is refused with what was found and what is expected", () => {
  const all = new KeptKernels(storage());
  assert.match(all.keep(kernel({ name: "  " }))!, /found nothing, expected/);
  assert.match(all.keep(kernel({ name: "x".repeat(MOST.name + 1) }))!, /found 41 characters, expected at most 40/);
  assert.match(all.keep(kernel({ name: "a\nb" }))!, /control character/);
  assert.match(all.keep(kernel({ text: "x".repeat(MOST.text + 1) }))!, /65537 characters.*at most 65536/);
  for (let i = 0; i < MOST.kernels; i++) assert.equal(all.keep(kernel({ name: `v${i}` })), undefined);
  assert.match(all.keep(kernel({ name: "one more" }))!, /found 24, expected fewer than 24; delete one first/);
  assert.equal(all.keep(kernel({ name: "v3", text: "// other" })), undefined, "one of the same name is replaced");
  assert.match(all.rename("attend", "v1", "v2")!, /another kept attend has/);
  assert.equal(all.rename("attend", "v1", "v1"), undefined);
});

test("storage that is closed, full or holds something else is reported, and loses no kept text", () => {
  for (
    const [closed, why] of [[new KeptKernels(undefined), /closed to this page/], [
      new KeptKernels(storage({}, true)),
      /QuotaExceeded/,
    ]] as const
  ) {
    assert.equal(closed.problem, undefined);
    assert.equal(closed.keep(kernel()), undefined);
    assert.match(closed.problem!, why);
    closed.choose("attend", "wide");
    assert.deepEqual(Object.keys(closed.shaders), ["attend"]);
  }
  for (
    const text of [
      "{",
      "[]",
      "null",
      '{"version":2,"variants":[],"chosen":{}}',
      '{"version":1,"variants":{},"chosen":{}}',
    ]
  ) {
    const kept = storage({ "ringside.kernels": text });
    const all = new KeptKernels(kept);
    assert.deepEqual([all.all, all.shaders], [[], {}]);
    assert.match(all.problem!, /cannot be read/);
    assert.equal(kept.content["ringside.kernels"], text, "the page leaves what it cannot read unchanged");
  }
});

test("invalid entries are left out, and so are choices of missing ones", () => {
  const good = kernel();
  const bad = [null, 3, {}, { ...good, text: 3 }, { ...good, name: "" }, { ...good, check: null }, {
    ...good,
    check: { ...good.check, passed: "yes" },
  }, { ...good, text: "x".repeat(MOST.text + 1) }];
  const infinite = {
    ...kernel({ name: "nan" }, false),
    check: { ...good.check, passed: false, out: null, lse: null },
  };
  const all = new KeptKernels(
    storage({
      "ringside.kernels": JSON.stringify({
        version: 1,
        variants: [...bad, good, infinite],
        chosen: { attend: "gone", decode: "wide", constructor: "wide" },
      }),
    }),
  );
  assert.deepEqual(all.all.map(({ name, check }) => [name, check.out]), [["wide", 1e-7], ["nan", Infinity]]);
  assert.deepEqual(all.inUse, []);
  assert.equal(all.chosen("constructor"), undefined);
});

test("reports name a text that replaces a shipped one, and say when it fails its check", async () => {
  const fails = kernel({ kernel: "merge" }, false);
  assert.equal(sayKeptKernel(fails), "your kernel wide, which fails the check");
  const by = { attend: { name: sayKeptKernel(kernel()), text: "" }, merge: { name: sayKeptKernel(fails), text: "" } };
  const used = ["attend: tiles (D 64)", "decode: pieces (D 64)", "attend: tiles (D 64)"];
  assert.equal(
    sayKernels(used, true, by),
    "attend: tiles (D 64) · your kernel wide + decode: pieces (D 64) + merge · your kernel wide, which fails the check",
  );
  assert.equal(sayKernels(used, false, by), "attend: tiles (D 64) · your kernel wide + decode: pieces (D 64)");
  assert.equal(
    sayKernels(used, true, { attend: "// text" }),
    "attend: tiles (D 64) · a text given in place of the shipped one + decode: pieces (D 64)",
  );
  assert.equal(sayKernels(used, true), "attend: tiles (D 64) + decode: pieces (D 64)");
  const shipped = await readShaders((url) => readFile(url, "utf8"));
  assert.equal(replaced(shipped, { merge: "// mine", decode: { name: "x", text: "// d" } }).merge, "// mine");
  assert.throws(() => replaced(shipped, { atend: "" }), {
    name: "InputError",
    message: /found a text for "atend", expected one of attend, /,
  });
});

test("changed lines are those outside a longest common subsequence", () => {
  const base = "a\nb\nc\nd\ne";
  for (
    const [text, lines] of [
      ["a\nb\nc\nd\ne", []],
      ["a\nB\nc\nd\ne", [2]],
      ["a\nc\nd\ne", []],
      ["x\na\nb\nc\ny\nd\ne\nz", [1, 5, 8]],
      ["b\na\nc\nd\ne", [2]],
      ["", [1]],
    ] as const
  ) {
    assert.deepEqual([...changedLines(base, text)], lines, text);
  }
  const long = Array.from({ length: 3000 }, (_, i) => `${i}`);
  assert.equal(changedLines(long.join("\n"), [...long].reverse().join("\n")).size, 3000);
});
