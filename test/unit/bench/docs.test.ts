/** The figures of docs/figures-*.md are those of the results that ship. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { readFiguresPages, withFigures } from "../../../engine/bench/docs.ts";
import type { BenchDocument } from "../../../engine/bench/document.ts";
import { projectRoot } from "../../../engine/bench/peers.ts";

const folder = path.join(projectRoot(), "engine", "bench", "results");
const timingsFolder = path.join(projectRoot(), "engine", "bench", "timings");
const namesIn = async (of: string) =>
  (await readdir(of)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5)).sort();

test("docs/figures-*.md show each shipped result once, unchanged (else: node dist/engine/bench/docs.js)", async () => {
  const pages = await readFiguresPages();
  assert.deepEqual(pages.flatMap(({ results }) => results).sort(), await namesIn(folder));
  assert.deepEqual(pages.flatMap((page) => page.timings).sort(), await namesIn(timingsFolder));
  for (const { file, text, results, timings } of pages) {
    assert.ok(results.length + timings.length > 0, `${file}: found no block of figures`);
    assert.equal(await withFigures(text), text, file);
  }
});

test("what ships passed its checks, and says on what it was measured", async () => {
  for (const name of await readdir(folder)) {
    const d = JSON.parse(await readFile(path.join(folder, name), "utf8")) as BenchDocument;
    assert.deepEqual([d.benchmark, d.passed], ["ringside bench", true], name);
    assert.ok(d.adapter.name !== "" && d.adapterSource !== null && Object.keys(d.versions).length >= 2, name);
    for (const peer of d.peers) {
      assert.ok(peer.agrees && Math.abs(peer.ratio - peer.peerSeconds / peer.ourSeconds) < 1e-9, name);
    }
  }
});
