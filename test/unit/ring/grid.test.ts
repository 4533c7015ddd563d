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
import { nodeFirst, thorough } from "../../tiers.ts";
import { grid, type GridCase, label } from "./cases.ts";

// deno-lint-ignore no-explicit-any -- a device's own handles do not matter here
type Open = (shape: Shape, recorder: Recorder) => Device<any, any, any>;

async function gpu(only?: KernelName): Promise<Open> {
  const { gpu, kernels, pool } = await testGpu();
  return (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder, only);
}

const cpu: Open = (shape, recorder) => new CpuAttention(shape, recorder);

/** Oracles are shared between the back-ends: they cost more than what they check. */
const oracles = new Map<string, { input: FixedInput; exact: readonly ExpectedRow[] }>();

function oracleOf({ ranks: _, ...rest }: GridCase): { input: FixedInput; exact: readonly ExpectedRow[] } {
  const key = JSON.stringify(rest);
  let oracle = oracles.get(key);
  if (oracle === undefined) {
    const input = experiment(rest);
    oracle = { input, exact: expect(input) };
    oracles.set(key, oracle);
  }
  return oracle;
}

/** Runs a case; its largest error. */
async function hold(open: Open, c: GridCase): Promise<number> {
  const { input, exact } = oracleOf(c);
  const { out, lse, passed } = check(input, await attendInProcess(input, c.ranks, open), exact);
  assert.ok(
    passed,
    `out off by ${out.max}, ${JSON.stringify(out.worst)}, lse by ${lse.max}, ${JSON.stringify(lse.worst)}`,
  );
  if (c.wireDtype !== "f32" && c.ranks === 8 && c.sequences[0].new === 257) {
    assert.ok(out.max > 1e-5, "a 16-bit wire rounded nothing");
  }
  return Math.max(out.max, lse.max);
}

/** The grid's cases, those that need the same kernels one after the other. */
const cases = grid().sort((a, b) => a.headDim - b.headDim || a.wireDtype.localeCompare(b.wireDtype));

for (const [name, open] of [["GPU", await gpu()], ["plain TypeScript", cpu]] as const) {
  for (const [i, c] of cases.entries()) {
    test(`${name}: ${label(c)}`, name === "GPU" && i % 2 === 0 ? {} : nodeFirst, async () => void await hold(open, c));
  }

  test(`${name}: the check compares the result with something else`, async () => {
    const c = cases.find((c) => c.wireDtype === "f32" && c.sequences[0].new === 257)!;
    assert.ok(await hold(open, c) > 0, "nothing differs at all");
  });
}

// D 80 (no multiple of a kernel's columns), f32 and bf16: a kernel's own arithmetic; the grid above covers the rest
// with the chosen kernel.
const { gpu: device } = await testGpu();
const shape = { headDim: 80, q: "f32", kv: "f32" } as const;
for (const kernel of [...tileKernelsOf(device, shape), ...pieceKernelsOf(device, shape)]) {
  const open = await gpu(kernel);
  const own = grid().filter((c, i) => c.headDim === 80 && c.wireDtype !== "f16" && i % 2 === 0)
    .filter((c) => !isPieceKernel(kernel) || c.sequences.every((s) => s.new <= 31));
  own.forEach((c, i) => {
    test(
      `${kernel}, chosen or not: ${label(c)}`,
      i % 4 === 0 ? nodeFirst : thorough,
      async () => void await hold(open, c),
    );
  });
}

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
