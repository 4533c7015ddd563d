/** Clusters of both back-ends over the grid of masks, sinks and head sizes, against float64. */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { Backend } from "../../../engine/cluster/types.ts";
import { check, expect, type ExpectedRow } from "../../../engine/reference/check.ts";
import { attendInProcess } from "../../../engine/cluster/in-process.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { pieceKernelsOf, tileKernelsOf } from "../../../engine/gpu/choice.ts";
import { isPieceKernel } from "../../../engine/gpu/kernels.ts";
import { type Mask, readMask, sayMask } from "../../../engine/layout/mask.ts";
import { experiment } from "../../experiment.ts";
import { testGpu } from "../../gpu.ts";
import { oneDevice } from "../../one-device.ts";
import { nodeFirst, thorough } from "../../tiers.ts";
import { type MaskCase, maskCases, maskInput, maskLabel } from "./mask-cases.ts";

const platform = await oneDevice();

/** Clusters stay open: kernels are compiled once for all of them. */
const clusters = new Map<string, Promise<Cluster>>();

function clusterOf(backend: Backend, ranks: number): Promise<Cluster> {
  const key = `${backend} ${ranks}`;
  const cluster = clusters.get(key) ?? Cluster.start(platform, { ranks, backend });
  clusters.set(key, cluster);
  return cluster;
}

after(async () => {
  for (const cluster of clusters.values()) await (await cluster).dispose();
});

/** Expected rows are shared between the back-ends, numbers of ranks and dealings. */
const oracles = new Map<string, readonly ExpectedRow[]>();

async function hold(backend: Backend, c: MaskCase): Promise<void> {
  const input = maskInput(c);
  const { ranks: _, dealing: __, ...rest } = c;
  const key = JSON.stringify(rest);
  const expected = oracles.get(key) ?? expect(input);
  oracles.set(key, expected);
  const result = await (await clusterOf(backend, c.ranks)).attend(input);
  const { out, lse, passed } = check(input, result, expected);
  assert.ok(passed, `out: ${JSON.stringify(out.worst)}, lse: ${JSON.stringify(lse.worst)}`);
}

/** The cases that need the same kernels one after the other. */
const cases = maskCases().sort((a, b) =>
  a.headDim - b.headDim || a.valueDim - b.valueDim || a.wireDtype.localeCompare(b.wireDtype)
);

for (const backend of ["webgpu", "cpu"] as const) {
  for (const [i, c] of cases.entries()) {
    const tier = i % 16 !== 0 ? thorough : backend === "webgpu" ? {} : nodeFirst;
    test(`${backend}: ${maskLabel(c)}`, tier, async () => await hold(backend, c));
  }
}

test("the check fails if a result follows another mask, or lacks the sinks", async () => {
  const mask: Mask = { kind: "window", size: 24 };
  const sinks = Float32Array.of(-50, 0, 0, 50);
  const input = { ...experiment({ sequences: [{ new: 61, cached: 0 }], mask }), sinks };
  const result = await (await clusterOf("cpu", 3)).attend(input);
  assert.ok(check(input, result).passed);
  assert.ok(!check({ ...input, mask: { kind: "window", size: 23 } }, result).passed);
  assert.ok(!check({ ...input, sinks: undefined }, result).passed);
});

// The grid above runs the kernels that Ringside chooses on this device. These are all that the device can run.
const { gpu, kernels, pool } = await testGpu();
const LOCAL: readonly Mask[] = ["window:37", "chunk:23", "window:9+6", "chunk:40+3"].map((text) => readMask(text)!);
const shape = { headDim: 16, q: "f32", kv: "f32" } as const;
for (const kernel of [...tileKernelsOf(gpu, shape), ...pieceKernelsOf(gpu, shape)]) {
  // Rows of many tiles, of one, and some that see nothing of what a rank holds.
  const sequences = isPieceKernel(kernel)
    ? [{ new: 1, cached: 300 }, { new: 1, cached: 17 }, { new: 1, cached: 0 }]
    : [{ new: 150, cached: 31 }, { new: 1, cached: 60 }, { new: 9, cached: 0 }];
  for (const [m, mask] of LOCAL.entries()) {
    test(`${kernel}, chosen or not: ${sayMask(mask)}`, m === 0 ? nodeFirst : thorough, async () => {
      for (const [variant, ranks] of [["pass-kv", 1], ["pass-kv", 3], ["pass-q", 2]] as const) {
        const input = { ...experiment({ sequences, heads: 6, kvHeads: 2, mask }), variant };
        const result = await attendInProcess(
          input,
          ranks,
          (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder, kernel),
        );
        const { out, lse, passed } = check(input, result);
        const worst = `out: ${JSON.stringify(out.worst)}, lse: ${JSON.stringify(lse.worst)}`;
        assert.ok(passed, `${variant}, N ${ranks}: ${worst}`);
      }
    });
  }
}
