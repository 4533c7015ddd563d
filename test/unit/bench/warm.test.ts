/** A GPU is warm when work takes as long as it does at best. */
import assert from "node:assert/strict";
import test from "node:test";
import { Warmth } from "../../../engine/bench/warm.ts";
import { readMicroShaders } from "../../../engine/bench/micro.ts";
import { readFile } from "node:fs/promises";
import { testGpu } from "../../gpu.ts";

/** Work that takes so long, run after run, and then as long as the last. */
function work(...seconds: number[]) {
  const rest = [...seconds];
  let runs = 0;
  return {
    run: async () => {
      runs++;
      await new Promise((resolve) => setTimeout(resolve, 2));
      return rest.length > 1 ? rest.shift()! : rest[0];
    },
    runs: () => runs,
  };
}

test("it runs until a run takes at most a twentieth longer than the best, and says how long that took", async () => {
  const { run, runs } = work(3, 2, 1, 2, 1.04);
  const warmth = new Warmth(run);
  await warmth.up(); // knows of no better: the first is enough
  assert.equal(runs(), 1);
  await warmth.up(); // 2 is the best
  await warmth.up(); // 1
  assert.equal(runs(), 3);
  await warmth.up(); // 2 is too long, 1.04 is not
  assert.equal(runs(), 5);
  assert.ok(warmth.seconds > 0.005 && warmth.seconds < 1, `${warmth.seconds}`);
});

test("a device that stays slow is waited for a second, no longer", async () => {
  const { run } = work(1, 2);
  const warmth = new Warmth(run);
  await warmth.up();
  const start = performance.now();
  await warmth.up();
  const took = performance.now() - start;
  assert.ok(took > 900 && took < 3000, `${took} ms`);
});

test("a software adapter has no clocks to warm", async () => {
  assert.equal(
    await Warmth.of((await testGpu()).gpu, await readMicroShaders((url) => readFile(url, "utf8"))),
    undefined,
  );
});
