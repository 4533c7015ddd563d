/** The examples of docs/bridge.md run on a real worker with four ranks, and print what it shows. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { findRoot, ringside } from "../cli/command.ts";
import { realWorker, workerTest } from "../bridge/real-worker.ts";

const ADDRESS = "ws://127.0.0.1:8787";
const page = await readFile(path.join(findRoot(), "docs", "bridge.md"), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp("^```" + language + "\\n([\\s\\S]*?)^```$", "gm"))].map(([, text]) => text);

/**
 * `…` stands for any text, numbers with a decimal point for any number, and the machine's own PyTorch for the page's.
 */
function pattern(shown: string): RegExp {
  const escaped = shown.trim().replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll(/torch \S+/g, "torch \\S+")
    .replaceAll("\\(node\\)", "\\((?:node|deno)\\)");
  return new RegExp(
    `^${escaped.replaceAll(/\d+\\\.\d+(e-\d+)?/g, "[\\d.]+(?:e-\\d+)?").replaceAll("…", "[\\s\\S]*?")}\\s*$`,
  );
}

workerTest("docs/bridge.md: the commands and the program", async () => {
  const worker = await realWorker("--processes", "4");
  // Inside the project, so that `import … from "ringside"` finds the package itself; git ignores *.local.
  const folder = path.join(findRoot(), `bridge-${"Deno" in globalThis ? "deno" : "node"}-${process.pid}.local`);
  try {
    await mkdir(folder);
    await writeFile(path.join(folder, "token"), `${worker.token}\n`);
    const here = (text: string) => text.replaceAll(ADDRESS, worker.address);
    for (const text of blocks("js")) {
      await writeFile(path.join(folder, /^\/\/ ([a-z]+\.mjs)/.exec(text)![1]), here(text));
    }
    const examples = blocks("console").flatMap((block) => block.split(/^\$ /m).slice(1));
    assert.equal(examples.length, 2);
    for (const example of examples) {
      const [line, ...shown] = here(example).split("\n");
      const args = line.split(" ").slice(2);
      const { status, stdout, stderr } = line.startsWith("npx ringside ")
        ? await ringside(args, folder).ended
        : await program(path.join(folder, line.split(" ")[1]), worker.token);
      assert.equal(status, 0, stderr);
      assert.match(
        stdout.trim(),
        pattern(shown.join("\n")),
        `the page shows:\n${shown.join("\n")}\nand this was printed:\n${stdout}`,
      );
    }
  } finally {
    await worker.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

/** Runs a program in this runtime with the token in its environment. */
async function program(
  file: string,
  token: string,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const before = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const child = spawn(process.execPath, [...before, file], {
    cwd: path.dirname(file),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, RINGSIDE_TOKEN: token, DENO_NO_UPDATE_CHECK: "1" },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const status = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { status, stdout, stderr };
}
