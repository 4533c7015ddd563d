/** The documents as pages: their links lead somewhere, none is lost, none is too long, and each says who needs it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { fromQuery, read } from "../../../web/lib/experiment/experiment.ts";
import { ringside } from "../cli/command.ts";
import { document, root } from "./examples.ts";

const docs = (await readdir(path.join(root, "docs"))).filter((name) => name.endsWith(".md")).sort();
const bridge = ["README.md", "protocol/README.md", "worker/README.md"].map((name) => `cuda-bridge/${name}`);
const documents = ["README.md", "CONTRIBUTING.md", ...docs.map((name) => `docs/${name}`), ...bridge];
const texts = new Map(
  await Promise.all(documents.map(async (file): Promise<[string, string]> => [file, await document(file)])),
);

/** A heading's anchor, as GitHub makes it. */
const anchor = (heading: string) =>
  heading.trim().toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");

/** The targets of a document's links and pictures. */
const targets = (file: string) => [...texts.get(file)!.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
const isLocal = (target: string) => !/^[a-z]+:/.test(target);

test("every relative link in the documents leads to a file, and to a heading where it names one", async () => {
  let links = 0;
  for (const file of documents) {
    for (const target of targets(file).filter(isLocal)) {
      const [name, heading] = target.split("#");
      const place = name === "" ? path.join(root, file) : path.resolve(root, path.dirname(file), name);
      assert.ok(existsSync(place), `${file}: ${target} leads nowhere`);
      if (heading !== undefined) {
        const headings = [...(await readFile(place, "utf8")).matchAll(/^#+ (.*)$/gm)].map(([, words]) => anchor(words));
        assert.ok(headings.includes(heading), `${file}: ${target}: found headings ${headings.join(", ")}`);
      }
      links++;
    }
  }
  assert.ok(links > 10, `found ${links} links`);
});

test("every page of docs/ is listed in docs/README.md, which the README links", () => {
  assert.ok(targets("README.md").includes("docs/README.md"));
  const listed = targets("docs/README.md");
  for (const name of docs) if (name !== "README.md") assert.ok(listed.includes(name), `${name} is in no list`);
});

test("the README has at most 130 lines, a page fewer than 200 and a first paragraph that says who needs it", () => {
  const lines = (file: string) => texts.get(file)!.trimEnd().split("\n");
  assert.ok(lines("README.md").length <= 130, `README.md: found ${lines("README.md").length} lines`);
  for (const file of documents) {
    assert.ok(lines(file).length < 200, `${file}: found ${lines(file).length} lines`);
    if (file.startsWith("docs/")) {
      assert.match(lines(file).slice(1).find((line) => line !== "")!, /^Read this page /, file);
    }
  }
});

test("the README's addresses of the page are experiments that can run", () => {
  const addresses = [...texts.get("README.md")!.matchAll(/http:\/\/127\.0\.0\.1:5173\/(\?[^#\s`)]*)/g)];
  assert.ok(addresses.length > 0, "found no address of the page");
  for (const [address, query] of addresses) {
    const { experiment, problems } = read(fromQuery(query));
    assert.ok(experiment !== undefined, `${address}: ${[...problems.values()].join(" ")}`);
  }
});

test("every command line in the documents has options that its command knows", async () => {
  const lines = [...texts].flatMap(([file, text]) =>
    [...text.matchAll(/\bnpx ringside-cp (?!COMMAND)([a-z]+)([^\n`#]*)/g)].map(([line, command, rest]) => ({
      where: `${file}: ${line}`,
      command,
      options: [...rest.matchAll(/(?<=\s)--[a-z][a-z-]*/g)].map(([option]) => option),
    }))
  );
  const commands = [
    "attend",
    "session",
    "selftest",
    "bench",
    "plan",
    "paper",
    "policy",
    "compare",
    "vectors",
    "layout",
    "trace",
  ];
  assert.deepEqual(lines.filter(({ command }) => !commands.includes(command)), []);
  for (const command of commands) {
    const own = lines.filter((line) => line.command === command);
    assert.ok(own.length > 0, `no document shows ringside ${command}`);
    const { stdout } = await ringside([command, "--help"], root).ended;
    const known = new Set([...stdout.matchAll(/--[a-z][a-z-]*/g)].map(([option]) => option).concat("--runtime"));
    for (const { where, options } of own) {
      for (const option of options) assert.ok(known.has(option), `${where}: ${option}`);
    }
  }
});
