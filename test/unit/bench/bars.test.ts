/** The bars, on figures made up for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { barsOf } from "../../../engine/bench/bars.ts";

type Given = Parameters<typeof barsOf>[0];
const none = { adapter: { software: true }, kernels: [], ring: [], peers: [], coldStart: null } as unknown as Given;
const given = (some: Record<string, unknown>) =>
  barsOf({ ...none, ...some } as Given).map(({ found, met }) => [found, met]);

test("nothing measured, nothing said", () => assert.deepEqual(barsOf(none), []));

test("the worst figure counts, and a bar is met at its edge", () => {
  const ring = (tokens: number, ranks: number, ofSingleCall: number, mergeShare: number) => ({
    tokens,
    ranks,
    ofSingleCall,
    mergeShare,
  });
  assert.deepEqual(given({ ring: [ring(1024, 8, 1.4, 0.2), ring(2048, 4, 1.4, 0.2)] }), []);
  assert.deepEqual(given({ ring: [ring(2048, 8, 1.08, 0.03), ring(4096, 8, 1.02, 0.01)] }), [[1.08, true], [
    0.03,
    true,
  ]]);
  assert.deepEqual(given({ ring: [ring(2048, 8, 1.09, 0), ring(4096, 8, 1.02, 0.04)] }), [[1.09, false], [
    0.04,
    false,
  ]]);
  const peer = (tokens: number, ratio: number) => ({ shape: { tokens }, ratio });
  assert.deepEqual(given({ peers: [peer(512, 1), peer(1024, 4.5), peer(4096, 3.9)] }), [[3.9, false]]);
  assert.deepEqual(given({ coldStart: { firstResultSeconds: 1.2 } }), [[1.2, true]]);
});

test("the share of multiply-adds is a bar for hardware alone, and the best shape's", () => {
  const kernel = (mask: string, ofMultiplyAdd: number, ofCopyKernel: number, chosen = true) => ({
    shape: { mask },
    chosen,
    ofMultiplyAdd,
    ofCopyKernel,
  });
  const kernels = [
    kernel("causal", 0.4, 0),
    kernel("full", 0.55, 0),
    kernel("full", 0.9, 0, false),
    kernel("decode", 0.01, 0.7),
  ];
  assert.deepEqual(given({ kernels }), [[0.7, true]]);
  assert.deepEqual(given({ kernels, adapter: { software: false } }), [[0.55, true], [0.7, true]]);
  // A kernel on matrix units has their rate as its bar, and counts for no other.
  const onMatrices = { ...kernel("full", 3, 0), ofMatrix: 0.36 };
  assert.deepEqual(given({ kernels: [...kernels, onMatrices], adapter: { software: false } }), [[0.55, true], [
    0.36,
    true,
  ], [0.7, true]]);
});
