/** A text given in place of a shipped kernel runs on every device that can run it; others are refused by name. */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { InputError } from "../../../engine/errors.ts";
import { chooseKernel, chooseMerge } from "../../../engine/gpu/choice.ts";
import { Kernels } from "../../../engine/gpu/pipelines.ts";
import { replaced, sayKernels } from "../../../engine/gpu/shaders.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { visibility } from "../../../engine/layout/visibility.ts";
import { CAUSAL } from "../../../engine/layout/mask.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";
import { testPlatform } from "../../platform.ts";

const platform = await testPlatform();
const texts = await platform.shaders();
const input = experiment({ sequences: [{ new: 37, cached: 20 }], heads: 4, kvHeads: 2, headDim: 16 });
const decode = experiment({ sequences: [{ new: 1, cached: 20 }], heads: 4, kvHeads: 2, headDim: 16 });

async function run(shaders: Record<string, string>, of = input, tune?: boolean) {
  const cluster = await Cluster.start(platform, { ranks: 2, shaders, ...(tune === undefined ? {} : { tune }) });
  try {
    return await cluster.attend(of);
  } finally {
    await cluster.dispose();
  }
}

test("a text for the general kernel runs where another would be chosen, and the report says so", async () => {
  for (const [of, tune] of [[input, undefined], [input, true], [decode, undefined]] as const) {
    const result = await run({ attend: texts.attend }, of, tune);
    assert.match(result.report.kernel, /^attend: .* · a text given in place of the shipped one$/);
    assert.ok(check(of, result).passed);
  }
  // A text for a kernel of single rows takes single rows, if there is one.
  assert.match((await run({ attend: texts.attend, decode: texts.decode }, decode)).report.kernel, /^decode: /);
});

test("what it computes is what its text says", async () => {
  const wrong = texts.attend.replace("0.6931471805599453", "0.7");
  assert.ok(!check(input, await run({ attend: wrong })).passed);
});

test("a text that is no kernel is refused by name, whether it would run or not", async () => {
  const { gpu } = await testGpu();
  for (
    const [name, text, why] of [
      [
        "attend",
        "this is no WGSL",
        new RegExp(
          'the text given for "attend" cannot run: attention kernel: no line matches .*; ' +
            "expected WGSL as in shaders/attend\\.wgsl$",
        ),
      ],
      [
        "attend",
        texts.attend.replace("fn row_sum", "fn row_sum("),
        /"attend" cannot run: it does not compile: line \d+/,
      ],
      ["decode", texts.decode.replace("fn decode", "fun decode"), /"decode" cannot run: it does not compile/],
      ["merge", "nothing", /"merge" cannot run: it does not compile/],
    ] as const
  ) {
    const kernels = new Kernels(gpu, replaced(texts, { [name]: text }));
    await assert.rejects(
      kernels.attend("attend", { headDim: 16, q: "f32", kv: "f32" }),
      (error: unknown) => error instanceof InputError && (assert.match(error.message, why), true),
    );
  }
  await assert.rejects(
    run({ decode: "nothing" }),
    (error: unknown) => error instanceof InputError && /"decode" cannot run/.test(error.message),
  );
});

const device = (subgroupSize: number | undefined, software: boolean) => ({
  subgroupSize,
  leastSubgroup: subgroupSize,
  workgroupMemory: 32768,
  matrices: false,
  facts: { software },
});
const shape = { headDim: 64, q: "f32", kv: "f32" } as const;
const seen = (fresh: number) => {
  const { queries, keys } = shard([{ new: fresh, cached: 9 }], 1);
  return visibility(queries[0], keys[0], CAUSAL);
};

test("a given text goes before what suits the device; an error for one that cannot run names what would", () => {
  for (const d of [device(4, true), device(undefined, true), device(32, false)]) {
    assert.equal(chooseKernel({ seen: seen(8), device: d, shape, work: 1e12, given: ["attend"] }), "attend");
    assert.equal(chooseKernel({ seen: seen(1), device: d, shape, given: ["attend"] }), "attend");
    assert.equal(chooseKernel({ seen: seen(1), device: d, shape, given: ["attend", "decode"] }), "decode");
    assert.equal(chooseKernel({ seen: seen(8), device: d, shape, given: ["attend-lanes"] }), "attend-lanes");
    // A text for single rows says nothing of many.
    assert.equal(
      chooseKernel({ seen: seen(8), device: d, shape, given: ["decode", "merge"] }),
      chooseKernel({ seen: seen(8), device: d, shape }),
    );
  }
  for (
    const [rows, name, instead] of [[8, "attend-matrix", "attend-lanes"], [8, "attend-subgroup4", "attend-lanes"], [
      1,
      "decode-subgroup4",
      "decode",
    ]] as const
  ) {
    assert.throws(
      () => chooseKernel({ seen: seen(rows), device: device(undefined, true), shape, given: [name] }),
      (error: unknown) =>
        error instanceof InputError &&
        error.message.startsWith(
          `shaders: found a text for "${name}", which this device cannot run on D 64, q f32, kv f32; ` +
            `"${instead}" would run in its place`,
        ),
    );
  }
  assert.equal(
    chooseMerge({ device: device(4, true), parts: 2, rows: 8, columns: 16, given: ["merge-parts"] }),
    "merge-parts",
  );
  assert.equal(chooseMerge({ device: device(32, false), parts: 9, rows: 8, columns: 16, given: ["merge"] }), "merge");
  assert.equal(
    sayKernels(["a: x"], true, { "merge-parts": "text" }),
    "a: x + merge-parts · a text given in place of the shipped one",
  );
});

test("a name that no kernel has is refused with the nearest", () => {
  assert.throws(
    () => replaced(texts, { atend: "" }),
    (error: unknown) =>
      error instanceof InputError &&
      /^shaders: found a text for "atend", expected one of attend, .*; did you mean "attend"\?$/.test(error.message),
  );
});
