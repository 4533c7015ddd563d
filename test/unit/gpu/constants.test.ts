/** The numbers that both the WGSL texts and the host have are the same in both. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { FLOPS_A_TURN, GROUP, MATRIX_ELEMENTS, MATRIX_FLOPS_A_TURN } from "../../../engine/bench/ceilings.ts";
import { projectRoot } from "../../../engine/bench/peers.ts";
import { readTexts, roleOf } from "../../../engine/bench/texts.ts";
import {
  keyLanes,
  MERGE_COLUMNS,
  MERGE_GROUP,
  MERGE_PARTS_COLUMNS,
  PIECE_HEADS,
  PIECE_KERNELS,
  PIECE_KEYS,
  pieceQuads,
  TILE_KERNELS,
  type TileKernel,
} from "../../../engine/gpu/kernels.ts";
import { declarationsOf } from "../../../engine/gpu/reflect.ts";
import { KEYS_STEP } from "../../../engine/gpu/slice-rows.ts";
import { specialise } from "../../../engine/gpu/specialise.ts";
import { paramsOf } from "../../../engine/gpu/tiling.ts";
import { PAGE } from "../../../engine/layout/pages.ts";
import { NO_KEYS } from "../../../engine/ring/chunk.ts";

const texts = await readTexts((url) => readFile(url, "utf8"));
const names = (role: string) => Object.keys(texts).filter((name) => roleOf(name) === role);
const tiles = names("tiles"), pieces = names("pieces"), merges = names("merge");

/** The value of an expression over a text's constants; u32 division rounds down. */
function value(expression: string, constants: Readonly<Record<string, number>>): number {
  const code = expression.replace(/\b(\d[\w.]*?)[uf]?\b/g, "$1");
  const select = (no: number, yes: number, condition: boolean) => (condition ? yes : no);
  const scope = { ...constants, select, max: Math.max, min: Math.min };
  return Math.floor(new Function(...Object.keys(scope), `return ${code}`)(...Object.values(scope)));
}

/** Numeric constants of a kernel, compiled for a head size and group if it is one of attention. */
function constantsOf(name: string, headDim = 64, group = 8): Record<string, number> {
  const attends = tiles.includes(name) || pieces.includes(name);
  const text = attends ? specialise(texts[name], { headDim, q: "f32", kv: "f32", group }) : texts[name];
  const constants: Record<string, number> = {};
  for (const { kind, name: own, value: expression } of declarationsOf(text).constants) {
    if (kind === "const") constants[own] = value(expression, constants);
  }
  return constants;
}

/** Threads of a workgroup along x and y. */
function workgroupOf(name: string): number[] {
  const constants = constantsOf(name);
  return declarationsOf(texts[name]).entries[0].workgroupSize.map((size) => value(size, constants));
}

/** Bytes of a kernel's workgroup memory. */
function memoryOf(name: string, headDim: number): number {
  const bytes: Record<string, number> = {
    f32: 4,
    u32: 4,
    "atomic<u32>": 4,
    vec2f: 8,
    "vec4<f16>": 8,
    vec4f: 16,
    mat4x4f: 64,
  };
  const constants = constantsOf(name, headDim);
  return declarationsOf(texts[name]).memory.reduce((sum, { type }) => {
    const [, element = type, length = "1"] = /^array<(.*?), (.*)>$/.exec(type) ?? [];
    assert.ok(element in bytes, `${name}: ${type}`);
    return sum + bytes[element] * value(length, constants);
  }, 0);
}

test("pages, and the mark of a row that sees no key, in every kernel that has them", () => {
  for (const name of [...tiles, ...pieces, ...merges]) {
    const none = /^const NONE: f32 = (.*);/m.exec(texts[name])?.[1];
    assert.equal(Number(none), NO_KEYS, name);
    if (!merges.includes(name)) assert.equal(constantsOf(name).PAGE, PAGE, name);
  }
  // Kernels read the keys of a step from one page.
  assert.equal(PAGE % KEYS_STEP, 0);
  assert.match(texts.attend, new RegExp(`last - last % ${KEYS_STEP}u`));
});

test("a tile's rows: what a workgroup's threads take", () => {
  assert.deepEqual(tiles.toSorted(), Object.keys(TILE_KERNELS).sort());
  for (const [name, kernel] of Object.entries(TILE_KERNELS)) {
    const [x, y = 1] = workgroupOf(name);
    const { ROWS } = constantsOf(name);
    const [, along, each] = /\b(thread\.y|lane) \* (\d)u/.exec(texts[name]) ?? [];
    const rows = ROWS ?? (along === "thread.y" ? y : x) * Number(each);
    assert.equal(rows, kernel.tileRows, name);
    const said = /tiles of (\d+) packed rows/.exec(texts[name]);
    if (said !== null) assert.equal(Number(said[1]), rows, name);
  }
  const [x, y] = workgroupOf("attend-shared");
  assert.equal(8 * y, TILE_KERNELS["attend-shared"].tileRows);
  assert.ok(TILE_KERNELS["attend-shared"].what.startsWith(`${x}x${y} threads`));
  const { M, ROWS } = constantsOf("attend-matrix");
  assert.equal(workgroupOf("attend-matrix")[0], 32 * (ROWS / M));
  const fits = (headDim: number) => TILE_KERNELS["attend-matrix"].takes({ headDim, q: "f32", kv: "f16" });
  assert.deepEqual([M - 4, M, 2 * M, 8 * M].map(fits), [false, true, true, true]);
});

test("workgroup memory: within what each kernel asks of a device", () => {
  for (const [name, least, most] of [["attend-shared", 4, 256], ["attend-matrix", 16, 128]] as const) {
    for (let headDim = least; headDim <= most; headDim += least) {
      const bytes = memoryOf(name, headDim);
      assert.ok(bytes <= 32768, `${name}, D ${headDim}: ${bytes} bytes`);
    }
  }
  // WebGPU gives every device 16 KiB.
  for (const name of ["attend", "attend-lanes", "decode", "merge", "merge-parts"]) {
    for (let headDim = 4; headDim <= 252; headDim += 4) {
      const bytes = memoryOf(name, headDim);
      assert.ok(bytes <= 16384, `${name}, D ${headDim}: ${bytes} bytes`);
    }
  }
  // A device that has no more than that can't run decode at D 256.
  assert.equal(memoryOf("decode", 256), 16384 + 64);
  const { runs } = TILE_KERNELS["attend-shared"] as TileKernel;
  const device = { subgroupSize: 32, leastSubgroup: 32, matrices: false, facts: { software: false } };
  assert.ok(runs!({ ...device, workgroupMemory: 32768 }) && !runs!({ ...device, workgroupMemory: 16384 }));
  assert.match(
    TILE_KERNELS["attend-shared"].what,
    new RegExp(`${Math.floor(memoryOf("attend-shared", 64) / 1024)} KiB`),
  );
});

test("pieces: their keys, the heads of a workgroup, the lanes that share a key", () => {
  assert.deepEqual(pieces.toSorted(), Object.keys(PIECE_KERNELS).sort());
  assert.equal(constantsOf("decode").KEYS, PIECE_KEYS);
  assert.equal(PIECE_KEYS % KEYS_STEP, 0);
  for (const name of pieces) {
    for (let group = 1; group <= 2 * PIECE_HEADS; group++) {
      assert.equal(constantsOf(name, 64, group).QUADS, pieceQuads(group), name);
      assert.ok(4 * pieceQuads(group) >= Math.min(group, PIECE_HEADS));
    }
    // As they stand, the texts are for an unknown group.
    assert.equal(value(/QUADS: u32 = (.*);/.exec(texts[name])![1], {}), pieceQuads());
  }
  const { THREADS } = constantsOf("decode-subgroups");
  for (let headDim = 4; headDim <= 256; headDim += 4) {
    const { LANES, V4 } = constantsOf("decode-subgroups", headDim);
    assert.equal(LANES, keyLanes(headDim), `D ${headDim}`);
    assert.ok(THREADS % LANES === 0 && 4 * LANES >= V4, `D ${headDim}`);
  }
  for (const keys of [1, 1000, 123_456]) {
    assert.equal(PIECE_KERNELS["decode-subgroups"].pieceKeys(keys, 8) % KEYS_STEP, 0);
  }
});

test("merges: columns of an invocation and of a workgroup", () => {
  assert.equal(constantsOf("merge").COLUMNS, MERGE_COLUMNS);
  assert.deepEqual(workgroupOf("merge"), [MERGE_GROUP]);
  assert.match(texts.merge, new RegExp(`i \\+= grid\\.x \\* ${MERGE_GROUP}u`));
  const { COLUMNS, THREADS } = constantsOf("merge-parts");
  assert.equal(COLUMNS, MERGE_PARTS_COLUMNS);
  assert.deepEqual(workgroupOf("merge-parts"), [THREADS]);
});

test("a text's THREADS are those of its workgroup", () => {
  for (const name of Object.keys(texts)) {
    const { THREADS } = constantsOf(name);
    if (THREADS !== undefined) assert.equal(workgroupOf(name).reduce((a, b) => a * b), THREADS, name);
  }
});

test("Params: the host's words in the order of the texts' members", () => {
  const members = (name: string) => declarationsOf(texts[name]).structs.find((s) => s.name === "Params")!.members;
  const words = paramsOf({ heads: 1, kvHeads: 2, count: 3, last: 4, scale: 0.5, first: 6 });
  assert.deepEqual([...words], [1, 2, 3, 4, 0x3f000000, 6, 0, 0]);
  for (const name of tiles) {
    const order = ["heads", "kv_heads", "tiles", "merge", "scale", "first_tile"];
    assert.deepEqual(members(name).map((m) => m.name), order, name);
  }
  for (const name of pieces) {
    assert.deepEqual(members(name).map((m) => m.name), ["heads", "kv_heads", "pieces", "rows", "scale"], name);
  }
  for (const name of [...tiles, ...pieces]) assert.equal(members(name)[4].type, "f32", name);
  for (const name of merges) assert.deepEqual(members(name).map((m) => m.name), ["parts", "rows", "columns"], name);
  assert.deepEqual(members("seeded").map((m) => m.name), ["seed", "tensor", "first_row", "rows", "columns"]);
});

test("ceilings: operations of a turn, workgroups, what a workgroup writes", () => {
  const turn = (name: string) => /i < params\.turns; i\+\+\) \{([\s\S]*?)\n {2}\}/.exec(texts[name])![1];
  const count = (name: string, part: RegExp) => [...turn(name).matchAll(part)].length;
  // A dot of vec4 and its sum: 8 operations; an addition of vec4: 4; a multiply-add of vec4: 8.
  assert.equal(8 * count("bench-dot", /dot\(/g) + 4 * count("bench-dot", /y \+= x;/g), FLOPS_A_TURN.dot);
  assert.equal(8 * count("bench-fma", /\* m \+ x;/g), FLOPS_A_TURN.fma);
  const subgroups = workgroupOf("bench-matrix")[0] / 32;
  const products = count("bench-matrix", /subgroupMatrixMultiplyAccumulate/g);
  assert.equal(subgroups * products * 2 * 16 ** 3, MATRIX_FLOPS_A_TURN);
  assert.equal(subgroups * products * 16 ** 2, MATRIX_ELEMENTS);
  for (const name of ["bench-dot", "bench-fma", "bench-copy"]) assert.deepEqual(workgroupOf(name), [GROUP], name);
});

test("the documents' figures of pieces", async () => {
  const folder = path.join(projectRoot(), "docs");
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(".md"))) {
    for (const [said, keys] of (await readFile(path.join(folder, file), "utf8")).matchAll(/pieces of (\d+)/g)) {
      assert.equal(Number(keys), PIECE_KEYS, `${file}: ${said}`);
    }
  }
});
