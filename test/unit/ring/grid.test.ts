/** Every back-end over the grid against float64, and one rank against no ring at all. */
import assert from "node:assert/strict";
import test from "node:test";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { pieceKernelsOf, tileKernelsOf } from "../../../engine/gpu/choice.ts";
import { isPieceKernel, type KernelName } from "../../../engine/gpu/kernels.ts";
import type { Shape } from "../../../engine/ring/chunk.ts";
import { attendInProcess, type FixedInput } from "../../../engine/cluster/in-process.ts";
import type { Device } from "../../../engine/rank/run.ts";
import { check, expect, type ExpectedRow } from "../../../engine/reference/check.ts";
import type { Recorder } from "../../../engine/trace/clock.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";
import { grid, label } from "./cases.ts";

// deno-lint-ignore no-explicit-any -- a device's own handles do not matter here
type Open = (shape: Shape, recorder: Recorder) => Device<any, any, any>;

async function gpu(only?: KernelName): Promise<Open> {
  const { gpu, kernels, pool } = await testGpu();
  return (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder, only);
}

const cpu: Open = (shape, recorder) => new CpuAttention(shape, recorder);

/** Oracles are shared between the back-ends: they cost more than what they check. */
const oracles = new Map<string, { input: FixedInput; exact: readonly ExpectedRow[] }>();

async function hold(open: Open, cases = grid()): Promise<void> {
  let worst = 0;
  for (const c of cases) {
    const { ranks: _, ...rest } = c;
    const key = JSON.stringify(rest);
    let oracle = oracles.get(key);
    if (oracle === undefined) {
      const input = experiment(rest);
      oracle = { input, exact: expect(input) };
      oracles.set(key, oracle);
    }
    const found = await attendInProcess(oracle.input, c.ranks, open);
    const { out, lse, passed } = check(oracle.input, found, oracle.exact);
    assert.ok(
      passed,
      `${label(c)}: out off by ${out.max}, ${JSON.stringify(out.worst)}, lse by ${lse.max}, ${
        JSON.stringify(lse.worst)
      }`,
    );
    if (c.wireDtype === "f32") worst = Math.max(worst, out.max, lse.max);
    else if (c.ranks === 8 && c.sequences[0].new === 257) {
      assert.ok(out.max > 1e-5, `${label(c)}: a 16-bit wire rounded nothing`);
    }
  }
  assert.ok(worst > 0, "nothing differs at all: the check compares a result with itself");
}

test("the GPU back-end passes the grid", async () => await hold(await gpu()));

test("every kernel that this device can run passes, chosen or not", async () => {
  const { gpu: device } = await testGpu();
  const names = tileKernelsOf(device, { headDim: 80, q: "f32", kv: "f32" });
  // D 80 (no multiple of a kernel's columns), f32 and bf16: a kernel's own arithmetic; the grid above covers the rest
  // with the chosen kernel.
  const cases = grid().filter((c, i) => c.headDim === 80 && c.wireDtype !== "f16" && i % 2 === 0);
  for (const name of [...names, ...pieceKernelsOf(device, { headDim: 80, q: "f32", kv: "f32" })]) {
    await hold(
      await gpu(name),
      cases.filter((c) => !isPieceKernel(name) || c.sequences.every((s) => s.new <= 31)),
    );
  }
});

test("the plain TypeScript back-end passes the grid", async () => await hold(cpu));

test("T = 2,048, D = 128: many tiles and workgroups, both variants", async () => {
  const input = experiment({ sequences: [{ new: 2048, cached: 0 }], heads: 2, kvHeads: 1, headDim: 128 });
  const exact = expect(input);
  const open = await gpu();
  for (const variant of ["pass-kv", "pass-q"] as const) {
    const { out, lse, passed } = check(
      { ...input, variant },
      await attendInProcess({ ...input, variant }, 4, open),
      exact,
    );
    assert.ok(passed, `${variant}: out off by ${out.max}, lse by ${lse.max}`);
  }
});

test("one rank gives what the kernel alone gives, bit for bit", async () => {
  for (const open of [await gpu(), cpu]) {
    const input = experiment({ sequences: [{ new: 113, cached: 40 }], heads: 8, kvHeads: 2, headDim: 16 });
    const kv = await attendInProcess({ ...input, variant: "pass-kv" }, 1, open);
    const q = await attendInProcess({ ...input, variant: "pass-q" }, 1, open);
    assert.deepEqual(kv.out, q.out);
    assert.deepEqual(kv.lse, q.lse);
  }
});

test("ranks that hold no key of a sequence weigh nothing", async () => {
  // One token over 8 ranks: seven of them hold none of its keys, and attend to an empty block.
  const input = experiment({ sequences: [{ new: 1, cached: 0 }, { new: 0, cached: 5 }], headDim: 16 });
  const exact = expect(input);
  for (const open of [await gpu(), cpu]) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const { passed, out } = check(
        { ...input, variant },
        await attendInProcess({ ...input, variant }, 8, open),
        exact,
      );
      assert.ok(passed, `${variant}: ${out.max}`);
    }
  }
});
