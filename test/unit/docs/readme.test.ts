/** The examples of the README, of docs/command-line.md and of docs/library.md run and print what these pages show. */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { document, type Examples, examplesOf, expectShown, inDeno, remove, runLine, scratch } from "./examples.ts";
import { nodeFirst } from "../../tiers.ts";

const pages = new Map<string, Examples>();
for (const file of ["README.md", "docs/command-line.md", "docs/library.md"]) {
  pages.set(file, examplesOf(await document(file)));
}
const commandsOf = (file: string) => pages.get(file)!.commands;
const scriptsOf = (file: string) => pages.get(file)!.scripts;
/** What the README's examples start from: the tensors of docs/command-line.md. */
const TENSORS = commandsOf("docs/command-line.md").find(({ line }) => line === "node tensors.mjs")!;

for (const [file, { scripts, commands }] of pages) {
  let folder: string;
  before(async () => {
    folder = await scratch([...scripts, ...(file === "README.md" ? scriptsOf("docs/command-line.md") : [])]);
    if (file === "README.md") await runLine(TENSORS, folder);
  });
  after(() => remove(folder));
  for (const example of commands) {
    const { line, shown } = example;
    // What runs in Node is run by Node's tests; but the README's scripts read what its commands write.
    const onlyNode = line.startsWith("npx ringside-cp") && !line.includes("--runtime deno");
    if (inDeno && onlyNode && file !== "README.md") continue;
    test(`${file}: ${line}`, nodeFirst, async () => {
      const exact = /^npx ringside-cp (plan|paper|policy)/.test(line);
      expectShown(file, shown, await runLine(example, folder), exact);
    });
  }
}

test("the pages show each command of the command line, and run each script that they have", nodeFirst, () => {
  const shows = (file: string, command: string) =>
    commandsOf(file).some(({ line }) => line.startsWith(`npx ringside-cp ${command}`));
  for (const command of ["attend", "session", "selftest", "plan", "paper", "policy"]) {
    assert.ok(shows("docs/command-line.md", command), command);
  }
  for (const command of ["attend", "plan"]) assert.ok(shows("README.md", command), `README.md: ${command}`);
  for (const [file, { scripts, commands }] of pages) {
    for (const { name, text } of scripts) {
      assert.ok(
        name !== undefined && commands.some(({ line }) => line === `node ${name}`),
        `${file}: a script without a name, or that isn't run:\n${text}`,
      );
    }
  }
  const shortest = scriptsOf("README.md").find(({ name }) => name === "example.mjs");
  assert.equal(shortest!.text.trimEnd().split("\n").length, 10, "ten lines");
});
