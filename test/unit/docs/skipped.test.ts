/** The table of docs/how-it-works.md that says what a local mask lets a ring skip: each row is what runs give. */
import assert from "node:assert/strict";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { thorough } from "../../tiers.ts";
import { call, type Document } from "../cli/command.ts";
import { document } from "./examples.ts";

test("what a local mask lets a ring skip", thorough, async () => {
  const text = await document("docs/how-it-works.md");
  const [, shape] = /`(--seed 7 --shape [^`]*)`/.exec(text)!;
  const rows = [...text.matchAll(/^\| ((?:causal|window|chunk)\S*) +\| (head-tail|contiguous) +\| (.*) \|$/gm)];
  assert.equal(rows.length, 7);
  for (const [, mask, dealing, cells] of rows) {
    const found: string[] = [];
    for (const variant of ["pass-kv", "pass-q"]) {
      const { stdout } = await call(attend, [
        ...shape.split(" "),
        ...["--mask", mask, "--dealing", dealing, "--variant", variant, "--backend", "cpu", "--json"],
      ]);
      const { skipped, perRank, ranks } = JSON.parse(stdout) as Document;
      const sent = perRank.reduce((sum, rank) => sum + rank.bytesSent, 0);
      const hops = `${skipped.hops} of ${ranks ** 2}`;
      if (found.length === 0) found.push(hops);
      assert.equal(found[0], hops);
      found.push(sent.toLocaleString("en"), `${(100 * skipped.bytes / (sent + skipped.bytes)).toFixed(1)} %`);
    }
    assert.deepEqual(cells.split("|").map((cell) => cell.trim()), found, `${mask} ${dealing}`);
  }
});
