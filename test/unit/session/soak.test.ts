/** A few of the random scripts of `npm run soak`: faults, cancels and disposals at any moment. Seeds name them. */
import assert from "node:assert/strict";
import test from "node:test";
import { damaged } from "../../soak/snapshots.ts";
import { soak } from "../../soak/soak.ts";
import { testPlatform } from "../../platform.ts";
import { nodeFirst, thorough } from "../../tiers.ts";

const platform = await testPlatform();

for (const [backend, scripts, brief] of [["cpu", 40, 4], ["webgpu", 4, 1]] as const) {
  for (let seed = 1; seed <= scripts; seed++) {
    const claim = "results are exact or named errors, failed steps change no cache, nothing is left running";
    test(
      `${backend}, seed ${seed}: ${claim}`,
      seed > brief ? thorough : nodeFirst,
      () => soak(platform, backend, seed),
    );
  }
}

test("damaged snapshots are refused, or restore the original", nodeFirst, async () => {
  const { refused, exact } = await damaged(platform, 1500);
  assert.equal(refused + exact, 1500);
  assert.ok(refused > 1200);
});
