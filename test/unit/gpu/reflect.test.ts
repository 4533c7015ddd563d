// What we read from the shipped WGSL texts is what their pipelines use: the device is the judge.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import test from "node:test";
import { readTexts, textUrls, tileKernelOfAll } from "../../../engine/bench/texts.ts";
import { type Binding, declarationsOf } from "../../../engine/gpu/reflect.ts";
import { testGpu } from "../../gpu.ts";
import { thorough } from "../../tiers.ts";

const texts = await readTexts((url) => readFile(url, "utf8"));
const STORAGE = 0x80, UNIFORM = 0x40, COMPUTE = 0x4;

test("every file of shaders/ is known by name", async () => {
  const files = (await readdir(new URL("../../../shaders/", import.meta.url))).filter((file) => file.endsWith(".wgsl"));
  assert.deepEqual(Object.keys(textUrls).sort(), files.map((file) => file.replace(/\.wgsl$/, "")).sort());
});

for (const [name, text] of Object.entries(texts)) {
  const { bindings, entries, enables } = declarationsOf(text, declarationsOf(texts[tileKernelOfAll]));

  test(`${name}: each line that declares a binding is found, with what it is`, () => {
    const lines = text.split("\n");
    const declared = lines.flatMap((line, i) => (/^@group/.test(line) ? [i + 1] : []));
    assert.deepEqual(bindings.map(({ line }) => line), declared);
    for (const { group, binding, name: own, kind, type, what, line } of bindings) {
      assert.ok(
        lines[line - 1].startsWith(`@group(${group}) @binding(${binding}) var<${kind}> ${own}: ${type};`),
        lines[line - 1],
      );
      assert.notEqual(
        what,
        "",
        `${own} has no comment, no shape in the header, and none in that of ${tileKernelOfAll}`,
      );
    }
  });

  test(`${name}: its pipeline uses these bindings and no other`, thorough, async () => {
    const { gpu: { device } } = await testGpu();
    if (!enables.every((feature) => device.features.has(feature as GPUFeatureName))) {
      // Deno on lavapipe has no subgroups: Node checks the same text with the device. What needs matrix units is
      // given to Dawn's compiler (matrix.test.ts).
      assert.ok(
        "Deno" in globalThis || enables.includes("chromium_experimental_subgroup_matrix"),
        `this device lacks ${enables.join(", ")}`,
      );
      return;
    }
    assert.equal(entries.length, 1);
    const module = device.createShaderModule({ code: text });
    const entryPoint = entries[0].name;
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint } });
    const [group] = new Set(bindings.map((b) => b.group));
    assert.equal(group, 0);
    const resources = bindings.map(({ binding, kind }) => ({
      binding,
      resource: { buffer: device.createBuffer({ size: 256, usage: kind === "uniform" ? UNIFORM : STORAGE }) },
    }));
    const refusal = async (entriesGiven: GPUBindGroupEntry[]) => {
      device.pushErrorScope("validation");
      device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: entriesGiven });
      return await device.popErrorScope();
    };
    assert.equal(await refusal(resources), null);
    for (const { binding } of bindings) {
      assert.notEqual(
        await refusal(resources.filter((r) => r.binding !== binding)),
        null,
        `a bind group without ${binding} fits as well`,
      );
    }
    // The kinds: a layout made of the table suits the pipeline, and one with another access does not.
    const suits = async (table: readonly Binding[]) => {
      device.pushErrorScope("validation");
      const layout = device.createBindGroupLayout({
        entries: table.map(({ binding, kind }) => ({
          binding,
          visibility: COMPUTE,
          buffer: { type: kind === "uniform" ? "uniform" : kind === "storage, read" ? "read-only-storage" : "storage" },
        })),
      });
      const made = await device.createComputePipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint },
      }).then(() => true, () => false);
      return (await device.popErrorScope()) === null && made;
    };
    assert.ok(await suits(bindings));
    const written = bindings.find(({ kind }) => kind === "storage, read_write")!;
    assert.ok(!(await suits(bindings.map((b) => (b === written ? { ...b, kind: "storage, read" } : b)))));
  });
}

test("what a text declares besides: constants with those that the host rewrites, memory, entry point, params", () => {
  const { constants, memory, entries, structs } = declarationsOf(texts.attend);
  assert.deepEqual(constants.filter((c) => c.specialised).map((c) => [c.kind, c.name, c.value]), [
    ["const", "D", "64u"],
    ["const", "DV", "64u"],
    ["const", "V_ROW", "16u"],
    ["alias", "Q4", "vec4f"],
    ["alias", "KV4", "vec4f"],
  ]);
  assert.deepEqual(constants.find(({ name }) => name === "COLUMNS"), {
    kind: "const",
    name: "COLUMNS",
    value: "(O4 + 7u) / 8u",
    specialised: false,
    what: "",
    line: 1 + texts.attend.split("\n").findIndex((line) => line.startsWith("const COLUMNS")),
  });
  assert.deepEqual(memory.map(({ name, type }) => [name, type]), [["exchange", "array<f32, 256>"], [
    "weights",
    "array<vec4f, 256>",
  ]]);
  assert.deepEqual(entries.map(({ name, workgroupSize }) => [name, workgroupSize]), [["attend", ["8", "8"]]]);
  assert.deepEqual(structs[0].members.map(({ name, type }) => `${name}: ${type}`).slice(-2), [
    "scale: f32",
    "first_tile: u32",
  ]);
});

test("comments, odd spacing, expressions, overrides; a text that is broken is read as far as it goes", () => {
  const { bindings, constants, entries, enables } = declarationsOf(`// Shapes: a [n, 4]; b, c [m].
// more
/* @group(0) @binding(9) var<uniform> no: f32; /* nested */ @group(0) @binding(8) var<uniform> nor: f32; */
enable f16, subgroups;
@id(3) override WIDE: u32 = 8u; // how wide
override LEFT_OPEN: f32;
const QUADS: u32 = 2u; // specialise: fours of heads
const D = 64u; // specialise
@binding(2)  @group( 1 )
  var <storage , read_write>  b : array< vec4<f32> ,4u* 2u > ;
@group(0) @binding(0) var t: texture_2d<f32>; // a picture
@group(0) @binding(1) var<storage, read> a: array<f32>;
@compute @workgroup_size(WIDE * (2u + 1u), 4)
fn go() {
  const inner = 3;
  let broken = (((;
`);
  assert.deepEqual(enables, ["f16", "subgroups"]);
  assert.deepEqual(
    bindings.map(({ group, binding, name, kind, type, what }) => [group, binding, name, kind, type, what]),
    [
      [0, 0, "t", "handle", "texture_2d<f32>", "a picture"],
      [0, 1, "a", "storage, read", "array<f32>", "[n, 4]"],
      [1, 2, "b", "storage, read_write", "array< vec4<f32>, 4u* 2u >", "[m]"],
    ],
  );
  assert.deepEqual(constants.map(({ kind, name, value, what }) => [kind, name, value, what]), [
    ["override", "WIDE", "8u", "how wide"],
    ["override", "LEFT_OPEN", "", ""],
    ["const", "QUADS", "2u", "fours of heads"],
    ["const", "D", "64u", ""],
  ]);
  assert.deepEqual(constants.map(({ specialised }) => specialised), [false, false, true, true]);
  assert.deepEqual(entries.map(({ name, workgroupSize }) => [name, workgroupSize]), [["go", [
    "WIDE * (2u + 1u)",
    "4",
  ]]]);
});
