/**
 * The documents' examples: their blocks, a temporary folder to run them in, and what they print beside what is shown.
 *
 * A `js` block is a file that its first line names. In a `console` block each `$` line is a command; what follows is
 * what it prints. A line of `…` alone stands for any lines.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { PACKAGE } from "../../../engine/package.ts";
import { type Ended, findRoot } from "../cli/command.ts";

export const root = findRoot();
export const inDeno = "Deno" in globalThis;

/** A command of a `console` block, and what the document shows below it. */
export interface Example {
  readonly line: string;
  readonly shown: string;
}

/** A script of a document; `name` is undefined if its first line names no file. */
export interface Script {
  readonly name: string | undefined;
  readonly text: string;
}

/** A document's scripts and commands. */
export interface Examples {
  readonly scripts: readonly Script[];
  readonly commands: readonly Example[];
}

/** The text of a file of the project. */
export async function document(file: string): Promise<string> {
  return await readFile(path.join(root, file), "utf8");
}

/** The examples of a document's text. */
export function examplesOf(text: string): Examples {
  const blocks = (language: string) =>
    [...text.matchAll(new RegExp("^```" + language + "\\n([\\s\\S]*?)^```$", "gm"))].map(([, block]) => block);
  return {
    scripts: blocks("js").map((text) => ({ name: /^\/\/ ([a-z]+\.mjs)/.exec(text)?.[1], text })),
    commands: blocks("console").flatMap((block) => block.split(/^\$ /m).slice(1)).map((part) => {
      const end = part.indexOf("\n");
      return { line: part.slice(0, end), shown: part.slice(end + 1) };
    }),
  };
}

/**
 * A temporary folder with these scripts, in which `import … from "ringside-cp"` finds this project: what `npm install
 * PATH` makes. Whoever calls this removes the folder.
 */
export async function scratch(scripts: readonly Script[]): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "ringside-docs-"));
  await writeFile(path.join(folder, "package.json"), JSON.stringify({ dependencies: { [PACKAGE]: `file:${root}` } }));
  await mkdir(path.join(folder, "node_modules"));
  await symlink(root, path.join(folder, "node_modules", PACKAGE), "dir");
  for (const { name, text } of scripts) await writeFile(path.join(folder, name!), text);
  return folder;
}

/** Removes a scratch folder, and not what its links lead to. */
export async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Runs a script in this runtime, in its own folder. */
export function runScript(file: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const before = inDeno ? ["run", "-A", "--no-check"] : [];
  return run(process.execPath, [...before, file], path.dirname(file), env);
}

/** Runs a command line of a document in a folder; `cat` makes the file that the document shows. */
export async function runLine({ line, shown }: Example, folder: string): Promise<string> {
  const [program, name, ...args] = line.split(" ");
  if (program === "cat") {
    await writeFile(path.join(folder, name), shown);
    return shown;
  }
  assert.ok(
    program === "node" || (program === "npx" && name === PACKAGE),
    `found ${line}, expected node, npx ${PACKAGE} or cat`,
  );
  const { status, stdout, stderr } = program === "node" ? await runScript(path.join(folder, name)) : await run(
    inDeno ? "node" : process.execPath,
    [path.join(root, "engine", "cli", "ringside.mjs"), ...args],
    folder,
  );
  assert.equal(status, 0, `${line}\n${stderr}`);
  return stderr.split("\n").filter((said) => !said.startsWith("build ")).join("\n") + stdout;
}

async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = spawn(command, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env, DENO_NO_UPDATE_CHECK: "1" },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const status = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { status: status ?? -1, stdout, stderr };
}

/**
 * Compares what a document shows with what was printed. Widths of columns don't count. Nor, unless `decimals` is set,
 * do numbers with a decimal point (times, errors) and what a dead rank's neighbour was waiting for. Whole numbers and
 * words always count.
 */
export function expectShown(where: string, shown: string, printed: string, decimals: boolean): void {
  const view = (text: string) => stable(text, decimals);
  const pattern = view(shown).trimEnd().split("\n").map((
    line,
  ) => (line === "…" ? "(?:.*\\n)*?" : `${escape(line)}\\n`)).join("");
  const found = `${view(printed).trimEnd()}\n`;
  assert.match(found, new RegExp(`^${pattern}$`), `${where} shows:\n${shown}\nand this was printed:\n${printed}`);
}

/** What doesn't change from run to run. */
function stable(text: string, decimals: boolean): string {
  const squeezed = text.replaceAll(/-{2,}/g, "-").replaceAll(/ {2,}/g, " ").replaceAll(/^ /gm, "");
  return decimals
    ? squeezed
    : squeezed.replaceAll(/\d+\.\d+(e[+-]\d+)?/g, "#").replaceAll(/\(awaited: [^)]*\)/g, "(awaited: #)");
}

/** A text as a regular expression that matches it alone. */
export function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
