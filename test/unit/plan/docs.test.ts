/**
 * docs/planner*.md: every command prints what these pages show, every quoted table is in `ringside paper`, and the
 * cluster in JSON plans.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { paper } from "../../../engine/cli/paper.ts";
import { plan } from "../../../engine/cli/plan.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { readMask } from "../../../engine/layout/mask.ts";
import type { Dealing } from "../../../engine/layout/shards.ts";
import { bytesText } from "../../../engine/policy/units.ts";
import type { Variant } from "../../../engine/ring/contract.ts";
import { tally } from "../../../engine/ring/tally.ts";
import { repository } from "../../repository.ts";
import { inFolder } from "../cli/command.ts";

const pages = ["planner.md", "planner-model.md", "planner-accuracy.md"];
const text = (await Promise.all(pages.map((page) => readFile(repository(`docs/${page}`), "utf8")))).join("\n");
const COMMANDS = { paper, plan, policy } as const;

async function printed(name: keyof typeof COMMANDS, argv: readonly string[]): Promise<string> {
  let out = "";
  assert.equal(await COMMANDS[name](argv, { stdout: (t) => void (out += t), stderr: () => {} }), 0);
  return out;
}

const shownCommands = [...text.matchAll(/```console\n\$ ringside ([^\n]*)\n([\s\S]*?)\n```/g)];
assert.ok(shownCommands.length >= 3, `found ${shownCommands.length} commands`);
for (const [, line, shown] of shownCommands) {
  test(`the docs' ringside ${line}`, async () => {
    const [name, ...argv] = line.split(" ");
    assert.equal((await printed(name as keyof typeof COMMANDS, argv)).trimEnd(), shown.trimEnd());
  });
}

test("the docs' quoted tables are in ringside paper", async () => {
  const report = await printed("paper", []);
  const quoted = [...text.matchAll(/^```(\w*)\n([\s\S]*?)\n```$/gm)].filter(([, language]) => language === "")
    .map(([, , block]) => block);
  assert.ok(quoted.length >= 6, `found ${quoted.length}`);
  for (const block of quoted) {
    for (const part of block.split("\n\n")) {
      assert.ok(report.includes(part), `the docs quote text that is not printed:\n${part.slice(0, 200)}`);
    }
  }
});

test("the docs' cluster in JSON plans", () =>
  inFolder(async (folder) => {
    const [, cluster] = /```json\n([\s\S]*?)\n```/.exec(text)!;
    const file = path.join(folder, "cluster.json");
    await writeFile(file, cluster);
    assert.match(await printed("plan", ["--cluster", file, "--new", "128000", "--cp", "4"]), /^TTFT +[\d.]+ s$/m);
  }));

test("the docs' table of windows and dealings is a count of the engine's messages", () => {
  const step = [{ new: 131_072, cached: 0 }];
  const rows = [
    ...text.matchAll(/^\| (window:4096|causal) +\| (\S+) +\| (\S+) +\| (.*?) +\| (\d+) of 64 +\| (\S+) +\|$/gm),
  ];
  assert.equal(rows.length, 6);
  for (const [, mask, dealing, variant, bytes, hops, busiest] of rows) {
    const found = tally(variant as Variant, step, 8, readMask(mask)!, dealing as Dealing);
    const sent = variant === "pass-kv"
      ? found.ring.rows * 2 * 8 * 128 * 2
      : found.ring.rows * 32 * 128 * 2 + found.parcels.rows * 32 * (128 * 2 + 4);
    const mean = found.pairs.reduce((sum, n) => sum + n, 0) / 8;
    assert.deepEqual(
      [bytes, Number(hops), busiest],
      [bytesText(sent), found.skipped.hops, (Math.max(...found.pairs) / mean).toFixed(2)],
    );
  }
});
