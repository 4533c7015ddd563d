/** WGSL has no includes, so kernels repeat what they share. Here every copy is compared with the others. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { readTexts, roleOf } from "../../../engine/bench/texts.ts";
import { withoutComments } from "../../../engine/gpu/reflect.ts";

const texts = await readTexts((url) => readFile(url, "utf8"));

/** A declaration of a module: of what (a function by its parameters), and its whole text. */
type Declared = readonly [what: string, text: string];

const spaced = (text: string) => text.replace(/\s+/g, " ").replace(/([(<]) | ([)>])|,( [)}])/g, "$1$2$3").trim();

/** The declarations of a text: each begins at the start of a line. */
function declared(text: string): Declared[] {
  const bare = withoutComments(text);
  const starts = [...bare.matchAll(/^(?:@[^\n]*?\s)?(?:fn|const|alias|struct|var)\b/gm)].map(({ index }) => index);
  return starts.map((start, i) => {
    const whole = spaced(bare.slice(start, starts[i + 1]));
    const what = /^(?:@.*? )?(fn \w+\(.*?\)(?= ->| \{)|(?:const|alias|struct) \w+|var<[^>]*> \w+)/.exec(whole)![1];
    return [what.replace(/^var<(uniform|storage).*>/, "binding"), whole];
  });
}

/** What a kernel has for itself, though kernels beside it have something of that name. */
const OWN = [
  // How a kernel divides its work.
  /^const (KEYS|ROWS|THREADS|COLUMNS|GROUPS)$/,
  /^fn (attend|decode|merge|ceiling)\(/,
  /^var<workgroup> /,
];
/** The same, of these kernels alone. */
const OWN_OF: Readonly<Record<string, readonly RegExp[]>> = {
  // Its keys and values are f16 as it stands.
  "attend-matrix": [/^alias KV4$/, /^fn unpack_kv\(/],
  // Its members are in another order, as its registers are.
  "attend-shared": [/^struct Rows$/, /^fn rows_of\(/],
  // It copies; the other ceilings compute.
  "bench-copy": [/^struct Params$/],
};
/** What is the same in kernels of all roles. */
const EVERYWHERE = /^(const (D|PAGE|V4|NONE|LOG2E|LN2)|alias (Q4|KV4)|fn (unpack_q|unpack_kv|spread|total)\(.*)$/;

/** Fails where two of the kernels declare the same thing in another way; returns how many copies were compared. */
function compare(kernels: Readonly<Record<string, string>>): number {
  const first = new Map<string, { readonly kernel: string; readonly text: string }>();
  let copies = 0;
  for (const [kernel, source] of Object.entries(kernels)) {
    for (const [what, text] of declared(source)) {
      if ([...OWN, ...(OWN_OF[kernel] ?? [])].some((own) => own.test(what))) continue;
      const key = EVERYWHERE.test(what) ? what : `${roleOf(kernel)} ${what}`;
      const copy = first.get(key);
      if (copy === undefined) first.set(key, { kernel, text });
      else {
        assert.equal(text, copy.text, `${what} of ${kernel} is not that of ${copy.kernel}`);
        copies++;
      }
    }
  }
  return copies;
}

/** Blocks between `// same: NAME` and `// end same`, by name; lines without their indentation. */
function blocksOf(kernels: Readonly<Record<string, string>>): Map<string, Map<string, string>> {
  const blocks = new Map<string, Map<string, string>>();
  for (const [kernel, text] of Object.entries(kernels)) {
    let open: { readonly name: string; readonly lines: string[] } | undefined;
    for (const line of text.split("\n").map((line) => line.trim())) {
      const name = /^\/\/ same: (.+)$/.exec(line)?.[1];
      if (name !== undefined) {
        assert.equal(open, undefined, `${kernel}: "${name}" begins before "${open?.name}" ends`);
        open = { name, lines: [] };
      } else if (line === "// end same") {
        assert.ok(open !== undefined, `${kernel}: a block ends that has not begun`);
        const copies = blocks.get(open.name) ?? new Map<string, string>();
        assert.ok(!copies.has(kernel), `${kernel}: "${open.name}" stands twice`);
        blocks.set(open.name, copies.set(kernel, open.lines.join("\n")));
        open = undefined;
      } else open?.lines.push(line);
    }
    assert.equal(open, undefined, `${kernel}: "${open?.name}" does not end`);
  }
  return blocks;
}

/** Fails where copies of a block differ. */
function compareBlocks(kernels: Readonly<Record<string, string>>): void {
  for (const [name, copies] of blocksOf(kernels)) {
    const [[kernel, text], ...others] = copies;
    assert.ok(others.length > 0, `"${name}" stands in ${kernel} alone`);
    for (const [other, own] of others) assert.equal(own, text, `"${name}" of ${other} is not that of ${kernel}`);
  }
}

test("declarations of one name are one text: bindings, parameters, constants, functions", () => {
  assert.ok(compare(texts) > 150, `${compare(texts)}`);
});

test("marked blocks are one text", () => {
  compareBlocks(texts);
  const tiles = Object.keys(texts).filter((name) => roleOf(name) === "tiles");
  const pieces = Object.keys(texts).filter((name) => roleOf(name) === "pieces");
  const blocks = blocksOf(texts);
  assert.deepEqual([...blocks.get("tile")!.keys()].sort(), tiles.sort());
  assert.deepEqual([...blocks.get("piece")!.keys()].sort(), pieces.sort());
  assert.deepEqual([...blocks.keys()].sort(), ["four rows a lane", "merged", "piece", "shares of a merge", "tile"]);
});

test("a copy that differs is found, wherever it stands", () => {
  const edits: readonly (readonly [kernel: string, from: string, to: string])[] = [
    [
      "attend-lanes",
      "select(vec4f(NONE), s[2] * scale, keys - begin.z < vec4u(count.z))",
      "select(vec4f(NONE), s[2], keys - begin.z < vec4u(count.z))",
    ],
    ["attend-subgroup4", "  first_tile: u32,\n", ""],
    ["attend-subgroup4-rows8", "array<vec4u>", "array<vec4i>"],
    ["attend-shared", "const LN2: f32 = 0.6931471805599453;", "const LN2: f32 = 0.6931;"],
    ["attend-matrix", "const PAGE: u32 = 64u;", "const PAGE: u32 = 32u;"],
    ["decode-subgroup4", "subgroupBroadcast(x, 3u)", "subgroupBroadcast(x, 2u)"],
    ["decode-subgroups", "const QUADS: u32 = 2u;", "const QUADS: u32 = 1u;"],
    ["merge-parts", "var<storage, read> parts_lse", "var<storage, read_write> parts_lse"],
    ["bench-fma", "alias T4 = vec4f;", "alias T4 = vec4<f32>;"],
  ];
  for (const [kernel, from, to] of edits) {
    const text = texts[kernel].replace(from, to);
    assert.notEqual(text, texts[kernel], `${kernel} has no ${from}`);
    assert.throws(() => compare({ ...texts, [kernel]: text }), /is not that of/, `${kernel}: ${from}`);
  }
  for (const [name, copies] of blocksOf(texts)) {
    for (const kernel of copies.keys()) {
      const text = texts[kernel].replace(new RegExp(`(// same: ${name}\\n[\\s\\S]*?);`), "$1;;");
      assert.notEqual(text, texts[kernel]);
      assert.throws(() => compareBlocks({ ...texts, [kernel]: text }), /is not that of/, `${kernel}: ${name}`);
    }
  }
  assert.throws(() => compareBlocks({ ...texts, merge: `${texts.merge}// same: x\n// end same\n` }), /in merge alone/);
  assert.throws(() => compareBlocks({ ...texts, merge: `${texts.merge}// same: x\n` }), /does not end/);
});
