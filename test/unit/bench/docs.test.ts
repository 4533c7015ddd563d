/** The figures of docs/speed.md are those of the results that ship. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { readSpeedPage, withFigures } from "../../../engine/bench/docs.ts";
import type { BenchDocument } from "../../../engine/bench/document.ts";
import { projectRoot } from "../../../engine/bench/peers.ts";

const folder = path.join(projectRoot(), "engine", "bench", "results");

test("docs/speed.md shows every result that ships, as it is (else: node dist/engine/bench/docs.js)", async () => {
  const { text, shown } = await readSpeedPage();
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
  assert.deepEqual([...shown].sort(), names.sort());
  assert.equal(await withFigures(text), text);
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
