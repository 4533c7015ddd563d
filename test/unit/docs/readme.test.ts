/**
 * The README's examples run and print what it shows, and every link between the documents leads somewhere.
 *
 * In the README a `js` block is a file named in its first line; in a `console` block each `$` line is run, and what
 * follows is compared with what is printed. A line of `…` alone stands for any lines. Widths of columns are not
 * compared, nor, of the commands that run attention, decimals (times, errors) and what was awaited of a dead rank;
 * whole numbers and words are.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";

/** The project's folder, from test/ (Deno) and from dist/test/ (Node) alike. */
function findRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
  return folder;
}

const root = findRoot();
const inDeno = "Deno" in globalThis;
/** Inside the project, so that `import … from "ringside"` finds the package itself; git ignores *.local. */
const folder = path.join(root, `readme-${inDeno ? "deno" : "node"}-${process.pid}.local`);
const readme = await readFile(path.join(root, "README.md"), "utf8");
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp("^```" + language + "\\n([\\s\\S]*?)^```$", "gm"))].map(([, text]) => text);
const files = blocks("js").map((text) => ({ name: /^\/\/ ([a-z]+\.mjs)/.exec(text)?.[1], text }));

before(async () => {
  await mkdir(folder);
  for (const { name, text } of files) await writeFile(path.join(folder, name!), text);
});
after(() => rm(folder, { recursive: true, force: true }));

/**
 * Runs a command line of the README: `npx ringside`, a script in this runtime, or `cat`, which makes the file that it
 * shows.
 */
async function run(line: string, shown: string): Promise<string> {
  const [program, name, ...args] = line.split(" ");
  if (program === "cat") {
    await writeFile(path.join(folder, name), shown);
    return shown;
  }
  assert.ok(
    program === "node" || (program === "npx" && name === "ringside"),
    `found ${line}, expected node, npx ringside or cat`,
  );
  const script = program === "npx" ? path.join(root, "engine", "cli", "ringside.mjs") : name;
  const [command, before] = program === "node" && inDeno
    ? [process.execPath, ["run", "-A", "--no-check"]]
    : [inDeno ? "node" : process.execPath, []];
  const child = spawn(command, [...before, script, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  assert.equal(status, 0, `${line}\n${stderr}`);
  return stderr.split("\n").filter((said) => !said.startsWith("build ")).join("\n") + stdout;
}

/** What does not change from run to run. */
function stable(text: string, decimals: boolean): string {
  const squeezed = text.replaceAll(/-{2,}/g, "-").replaceAll(/ {2,}/g, " ").replaceAll(/^ /gm, "");
  return decimals
    ? squeezed
    : squeezed.replaceAll(/\d+\.\d+(e[+-]\d+)?/g, "#").replaceAll(/\(awaited: [^)]*\)/g, "(awaited: #)");
}

function expectShown(shown: string, printed: string, decimals: boolean): void {
  const view = (text: string) => stable(text, decimals);
  const pattern = view(shown).trimEnd().split("\n").map((
    line,
  ) => (line === "…" ? "(?:.*\\n)*?" : `${line.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\n`)).join("");
  const found = `${view(printed).trimEnd()}\n`;
  assert.match(found, new RegExp(`^${pattern}$`), `the README shows:\n${shown}\nand this was printed:\n${printed}`);
}

for (const block of blocks("console")) {
  for (const part of block.split(/^\$ /m).slice(1)) {
    const end = part.indexOf("\n");
    const [line, shown] = [part.slice(0, end), part.slice(end + 1)];
    // What runs in Node is run by Node's tests.
    if (inDeno && line.startsWith("npx ringside") && !line.includes("--runtime deno")) continue;
    test(`README: ${line}`, async () =>
      expectShown(shown, await run(line, shown), /^npx ringside (plan|paper|policy)/.test(line)));
  }
}

test("the README shows each command of the command line, and runs each script that it has", () => {
  const lines = blocks("console").flatMap((block) => [...block.matchAll(/^\$ (.*)$/gm)].map(([, line]) => line));
  for (const command of ["attend", "session", "selftest", "plan", "paper", "policy"]) {
    assert.ok(lines.some((line) => line.startsWith(`npx ringside ${command}`)), command);
  }
  for (const { name, text } of files) {
    assert.ok(
      name !== undefined && lines.includes(`node ${name}`),
      `a script without a name or that is not run:\n${text}`,
    );
  }
  assert.equal(files.find(({ name }) => name === "example.mjs")!.text.trimEnd().split("\n").length, 10, "ten lines");
});

/** A heading's anchor, as GitHub makes it. */
const anchor = (heading: string) =>
  heading.trim().toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");

test("every relative link in the documents leads to a file, and to a heading where it names one", async () => {
  const documents = [
    "README.md",
    "CONTRIBUTING.md",
    ...(await readdir(path.join(root, "docs"))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
  ];
  let links = 0;
  for (const document of documents) {
    const text = await readFile(path.join(root, document), "utf8");
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, heading] = target.split("#");
      const place = file === "" ? path.join(root, document) : path.resolve(root, path.dirname(document), file);
      assert.ok(existsSync(place), `${document}: ${target} leads nowhere`);
      if (heading !== undefined) {
        const headings = [...(await readFile(place, "utf8")).matchAll(/^#+ (.*)$/gm)].map(([, words]) => anchor(words));
        assert.ok(headings.includes(heading), `${document}: ${target}: found headings ${headings.join(", ")}`);
      }
      links++;
    }
  }
  assert.ok(links > 10, `found ${links} links`);
});
