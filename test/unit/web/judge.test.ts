// The page's check is the engine's: the same bounds, verdicts and figures, of all rows or of some.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type KernelName, kernelName } from "../../../engine/gpu/kernels.ts";
import { productsOf } from "../../../engine/gpu/products.ts";
import { sayKernels } from "../../../engine/gpu/shaders.ts";
import { check, checkAsync, type CheckInput } from "../../../engine/reference/check.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { judge } from "../../../web/lib/experiment/judge.ts";
import { sayShare, sayWorst } from "../../../web/lib/experiment/bounds.ts";

const [T, P, H, Hkv, D] = [12, 9, 4, 2, 16];

/** `exact`: values that 16 bits hold. */
function inputOf(wireDtype: DType, variant: Separate["variant"], exact: boolean, size = 1): Separate {
  const numbers = (count: number, phase: number) =>
    Float32Array.from({ length: count }, (_, i) => {
      const x = size * Math.sin(0.37 * i * i + phase);
      return exact ? Math.round(x * 64) / 64 : x;
    });
  return {
    q: numbers(T * H * D, 1),
    k: numbers((T + P) * Hkv * D, 2),
    v: numbers((T + P) * Hkv * D, 3),
    sequences: [{ new: T, cached: P }],
    heads: H,
    kvHeads: Hkv,
    headDim: D,
    causal: true,
    variant,
    wireDtype,
    ranks: 4,
  };
}

/** An experiment whose values are a tensor of their own. */
type Separate = CheckInput & { readonly v: Float32Array };

/** A correct result: that of float64 on the values the wire sends, rounded to f32. */
function right(input: Separate) {
  const { wireDtype = "f32", variant } = input;
  const sent = (x: Float32Array) => fromBytes(toBytes(x, wireDtype), wireDtype);
  const { out, lse } = reference(
    variant === "pass-q" ? { ...input, q: sent(input.q) } : { ...input, k: sent(input.k), v: sent(input.v) },
  );
  return { out: Float32Array.from(out), lse: Float32Array.from(lse) };
}

const all = Array.from({ length: T }, (_, row) => row);

const wires = [["f32", "pass-kv", false], ["bf16", "pass-kv", true], ["bf16", "pass-kv", false], [
  "f16",
  "pass-q",
  false,
]] as const;
for (const [wire, variant, exact] of wires) {
  const values = exact ? "exact in 16 bits" : "rounded by 16 bits";
  test(`${variant}, ${wire}, ${values}: page and engine agree on right and wrong results`, async () => {
    const input = inputOf(wire, variant, exact);
    const result = right(input);
    const passes = await judge(checkAsync, input, result, all, () => {});
    const engine = check(input, result);
    const side = ({ max, rms, worst }: typeof engine.out) => ({ max, rms, share: worst.share });
    assert.equal(passes.passed, true);
    assert.deepEqual([passes.out, passes.lse, passes.tolerance], [
      side(engine.out),
      side(engine.lse),
      engine.tolerance,
    ]);
    const { allowed } = engine.out.worst;
    for (const [tensor, at] of [["O", 5 * H * D + 2 * D + 3], ["LSE", 5 * H + 2]] as const) {
      const wrong = { out: result.out.slice(), lse: result.lse.slice() };
      // Outside f32's bounds, but well below the 1e-3 that the former bound for 16 bits allowed.
      (tensor === "O" ? wrong.out : wrong.lse)[at] += Math.max(2e-4, 100 * allowed);
      const fails = await judge(checkAsync, input, wrong, all, () => {});
      assert.equal(check(input, wrong).passed, false);
      assert.equal(fails.passed, false);
      const { row, head, column } = fails.worst;
      assert.deepEqual([fails.worst.tensor, row, head, column], [tensor, 5, 2, tensor === "O" ? 3 : undefined]);
      assert.match(sayWorst(fails), /^(O|LSE) of row 5, head 2(, column 3)?: found .*, expected .* within \d/);
    }
  });
}

test("large scores: f32's own rounding passes, where a constant bar refused it", async () => {
  const input = inputOf("f32", "pass-kv", false, 8);
  const result = right(input);
  // Queries off by half a unit of f32 give errors like those of f32 arithmetic.
  const off = reference({ ...input, q: input.q.map((x, i) => x * (1 + (i % 2 ? 2 ** -22 : -(2 ** -22)))) });
  const found = { out: Float32Array.from(off.out), lse: Float32Array.from(off.lse) };
  const apart = Math.max(...found.out.map((x, i) => Math.abs(x - result.out[i])));
  assert.ok(apart > 4e-6, `found ${apart}: too small to tell`);
  assert.equal((await judge(checkAsync, input, found, all, () => {})).passed, true);
});

test("some rows: only those are judged, in any order, and named by their own number", async () => {
  const input = inputOf("f32", "pass-kv", false);
  const { out, lse } = right(input);
  out[4 * H * D] += 1;
  out[9 * H * D + D] += 1;
  const of = (...rows: number[]) => judge(checkAsync, input, { out, lse }, rows, () => {});
  const without = await of(0, 3, 5, 11);
  assert.deepEqual([without.passed, without.rows, without.of], [true, 4, T]);
  const { passed, worst } = await of(0, 9, 11);
  assert.deepEqual([passed, worst.tensor, worst.row, worst.head, worst.column], [false, "O", 9, 1, 0]);
});

test("a NaN fails, and the message stays readable", async () => {
  const input = inputOf("f32", "pass-kv", false);
  const { out, lse } = right(input);
  out[7] = NaN;
  const fails = await judge(checkAsync, input, { out, lse }, all, () => {});
  assert.deepEqual([fails.passed, sayShare(fails)], [false, "infinitely more"]);
  assert.equal(sayShare({ out: { max: 0, rms: 0, share: 0.0421 }, lse: { max: 0, rms: 0, share: 0.01 } }), "4.2 %");
  assert.equal(
    sayShare({ out: { max: 0, rms: 0, share: 0 }, lse: { max: 0, rms: 0, share: 1234 } }),
    "1,234 times as much",
  );
});

test("progress comes with the first row and grows; products of matrix units are f16", async () => {
  const input = inputOf("f32", "pass-kv", false);
  const told: number[][] = [];
  await judge(checkAsync, input, right(input), all, (done, total) => told.push([done, total]));
  assert.ok(
    told.length > 0 &&
      told.every(([done, total], i) => total === T && done <= total && (i === 0 || done > told[i - 1][0])),
  );
  const shape = { headDim: 64, q: "f32", kv: "f16", group: 1 } as const;
  const ran = (...names: KernelName[]) =>
    sayKernels(names.map((name) => kernelName(name, shape)), false, {
      "attend-matrix": "text",
      attend: { name: "like attend-matrix", text: "" },
    });
  assert.equal(productsOf(ran("attend", "attend-matrix")), "f16");
  assert.equal(productsOf(ran("attend", "attend-subgroup4")), "f32");
});
