/** How much work one submission holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../../../engine/gpu/pace.ts";

test("a rate that was seen fills 0.3 s; what was too short to tell says nothing", () => {
  const pace = new Pace();
  assert.equal(pace.tiles(1e7), 50);
  pace.saw(1e6, 1e-4);
  assert.equal(pace.tiles(1e7), 50);
  pace.saw(5e8, 0.1);
  assert.equal(pace.tiles(1e7), 150);
  assert.equal(pace.tiles(1e12), 1);
});

test("a fast device is given more and more until a submission is long enough to tell its rate", () => {
  const pace = new Pace();
  const [rate, tile] = [1e13, 1e7];
  for (let i = 0; i < 5; i++) {
    const flops = pace.tiles(tile) * tile;
    pace.saw(flops, flops / rate);
  }
  assert.ok(Math.abs((pace.tiles(tile) * tile) / rate - 0.3) < 0.01, `${pace.tiles(tile)}`);
});
