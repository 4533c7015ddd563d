/** Medians, turns, counts of work: what the benchmark's figures are made with. */
import assert from "node:assert/strict";
import test from "node:test";
import { bytesOf, flopsOf, measuredAt } from "../../../engine/bench/inputs.ts";
import { asHalf } from "../../../engine/bench/micro.ts";
import { interleave, median, ratio, repeatsOf } from "../../../engine/bench/stats.ts";

test("median, least, most", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.throws(() => median([]), /found no value/);
  const all = [2, 9, 4];
  assert.deepEqual(repeatsOf(all), { median: 4, min: 2, max: 9, all });
  assert.deepEqual(all, [2, 9, 4], "left in the order they ran");
});

test("a ratio over nothing is none", () => {
  assert.equal(ratio(3, 2), 1.5);
  assert.equal(ratio(3, 0), undefined);
});

test("variants run in turns, and each round begins with another", async () => {
  const ran: string[] = [];
  const results = await interleave(["a", "b", "c"], 3, (v, round) => {
    ran.push(v);
    return Promise.resolve(`${v}${round}`);
  });
  assert.deepEqual(ran.join(""), "abcbcacab");
  assert.deepEqual(results, [["a0", "a1", "a2"], ["b0", "b1", "b2"], ["c0", "c1", "c2"]]);
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  await assert.rejects(interleave(["a"], 1, () => Promise.resolve(), controller.signal), /enough/);
});

test("work counts visible pairs, each row of K and V once", () => {
  const heads = { heads: 8, kvHeads: 2, headDim: 64 };
  const [full, causal, partial, decode] = measuredAt(512, heads);
  const unit = 4 * 64 * 8;
  assert.equal(flopsOf(full), unit * 512 * 512);
  assert.equal(flopsOf(causal), unit * (512 * 513) / 2);
  assert.equal(flopsOf(partial), unit * (128 * 384 + (128 * 129) / 2));
  assert.equal(flopsOf(decode), unit * 16 * 512);
  assert.deepEqual([partial.tokens + partial.cached, decode.tokens + decode.cached], [512, 8192]);
  assert.equal(bytesOf(decode), 4 * (2 * 8 * 64 + 8 + 2 * 8192 * 2 * 64));
});

test("a micro-kernel without the lines that f16 replaces is refused", () => {
  assert.match(
    asHalf("alias T = f32; // specialise\nalias T4 = vec4f; // specialise"),
    /^enable f16;\nalias T = f16;\nalias T4 = vec4h;$/,
  );
  assert.throws(() => asHalf("alias T = f32;"), /no line matches/);
});
