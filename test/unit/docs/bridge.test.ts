/** The examples of docs/bridge.md run on a real worker with four ranks, and print what the page shows. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { ringside } from "../cli/command.ts";
import { realWorker, workerTest } from "../bridge/real-worker.ts";
import { document, escape, examplesOf, remove, runScript, scratch } from "./examples.ts";

const ADDRESS = "ws://127.0.0.1:8787";
const page = await document("docs/bridge.md");

/** `…` stands for any text, a number with a decimal point for any number, and torch's version for any version. */
function pattern(shown: string): RegExp {
  const escaped = escape(shown.trim()).replaceAll(/torch \S+/g, "torch \\S+")
    .replaceAll("\\(node\\)", "\\((?:node|deno)\\)");
  return new RegExp(
    `^${escaped.replaceAll(/\d+\\\.\d+(e-\d+)?/g, "[\\d.]+(?:e-\\d+)?").replaceAll("…", "[\\s\\S]*?")}\\s*$`,
  );
}

workerTest("docs/bridge.md: the commands and the program", async () => {
  const worker = await realWorker("--processes", "4");
  const { scripts, commands } = examplesOf(page.replaceAll(ADDRESS, worker.address));
  const folder = await scratch(scripts);
  try {
    await writeFile(path.join(folder, "token"), `${worker.token}\n`);
    assert.equal(commands.length, 2);
    for (const { line, shown } of commands) {
      const { status, stdout, stderr } = line.startsWith("npx ringside-cp ")
        ? await ringside(line.split(" ").slice(2), folder).ended
        : await runScript(path.join(folder, line.split(" ")[1]), { RINGSIDE_TOKEN: worker.token });
      assert.equal(status, 0, stderr);
      assert.match(stdout.trim(), pattern(shown), `the page shows:\n${shown}\nand this was printed:\n${stdout}`);
    }
  } finally {
    await worker.stop();
    await remove(folder);
  }
});
