/** The README's moving picture is drawn from the run that it carries, and that run is one that the engine can make. */
import assert from "node:assert/strict";
import test from "node:test";
import { maskOf } from "../../../web/engine/run.ts";
import { movingPicture, recordedIn } from "../../picture/moving.ts";
import { document } from "./examples.ts";

const picture = await document("docs/lab.svg");
const run = recordedIn(picture);

test("docs/lab.svg is what its own spans draw (else: node test/screenshots.mjs --redraw)", async () => {
  assert.ok(picture === movingPicture(run, await document("web/styles/tokens.css")));
  assert.ok(picture.length < 150_000, `found ${picture.length} characters`);
});

test("the picture loads and runs nothing, knows both schemes, and stands still for those who ask for it", () => {
  assert.doesNotMatch(picture, /<script|<image|<foreignObject|\bhref=|@import|url\((?!#)|\son\w+=/);
  assert.match(picture, /@media \(prefers-color-scheme:dark\)/);
  assert.match(picture, /@media \(prefers-reduced-motion:reduce\)/);
  // Every name is defined once, and every animation that an element names is defined.
  const defined = [...picture.matchAll(/@keyframes (\w+)/g)].map(([, name]) => name);
  const used = new Set([...picture.matchAll(/animation-name:(\w+)/g)].map(([, name]) => name));
  assert.deepEqual([...used].sort(), [...new Set(defined)].sort());
  assert.equal(new Set(defined).size, defined.length);
});

test("the recorded run sends what pass-KV sends, and computes what the mask has", () => {
  const { ranks, heads, kvHeads, headDim, spans } = run;
  const rows = (run.new + run.cached) / ranks;
  const bytes = 2 * rows * kvHeads * headDim * 2; // K and V in bf16
  const mask = maskOf([run], ranks, "pass-kv", true);
  for (let rank = 0; rank < ranks; rank++) {
    const own = spans.filter((span) => span.rank === rank);
    const received = own.filter(({ lane }) => lane === "receive");
    assert.deepEqual(received.map((span) => [span.hop, span.bytes]).sort(), [0, 1, 2].map((hop) => [hop, bytes]));
    const flops = own.filter(({ kind }) => kind === "attend").reduce((sum, span) => sum + span.flops, 0);
    assert.equal(flops, 4 * headDim * heads * mask.pairs[rank]);
  }
});
