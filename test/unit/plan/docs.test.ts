/** docs/planner.md: every command that it shows prints what it shows, and every quoted table is of `ringside paper`. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { paper } from "../../../engine/cli/paper.ts";
import { plan } from "../../../engine/cli/plan.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { repository } from "../../repository.ts";

const text = await readFile(repository("docs/planner.md"), "utf8");
const COMMANDS = { paper, plan, policy } as const;

async function printed(name: keyof typeof COMMANDS, argv: readonly string[]): Promise<string> {
  let out = "";
  assert.equal(await COMMANDS[name](argv, { stdout: (t) => void (out += t), stderr: () => {} }), 0);
  return out;
}

for (const [, line, shown] of text.matchAll(/```console\n\$ ringside ([^\n]*)\n([\s\S]*?)\n```/g)) {
  test(`the docs' ringside ${line}`, async () => {
    const [name, ...argv] = line.split(" ");
    assert.equal((await printed(name as keyof typeof COMMANDS, argv)).trimEnd(), shown.trimEnd());
  });
}

test("the docs' quoted tables are of ringside paper", async () => {
  const report = await printed("paper", []);
  const quoted = [...text.matchAll(/```\n([\s\S]*?)\n```\n/g)].map(([, block]) => block).filter((block) =>
    /^(Parameters|Errors|Table|Headline|Where)/.test(block)
  );
  assert.ok(quoted.length >= 5, `found ${quoted.length}`);
  for (const block of quoted) {
    for (const part of block.split("\n\n")) {
      assert.ok(report.includes(part), `the docs quote what is not printed:\n${part.slice(0, 200)}`);
    }
  }
});
