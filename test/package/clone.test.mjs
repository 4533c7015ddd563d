/** A fresh clone, in which nothing is installed or built: what runs there, and what the rest says. */
import assert from "node:assert/strict";
import { cpSync, existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { command, manifest, npm, root, temporary } from "./project.mjs";

const ABSENT = /^(node_modules|dist|pkg|\.git|\.venv|web\/dist|test-results)$|\.local$|__pycache__$/;

/** The files of the project without what is installed or built. */
const clone = temporary();
const filter = (file) => !ABSENT.test(path.relative(root, file).replaceAll("\\", "/"));
cpSync(root, clone, { recursive: true, verbatimSymlinks: true, filter });
const launcher = path.join(clone, "engine", "cli", "ringside.mjs");

test("ringside --help and --version answer before a build, and quickly", async () => {
  const start = performance.now();
  const { out } = await command(process.execPath, [launcher, "--help"], { cwd: clone });
  assert.match(out, /^ringside COMMAND \[options\]/);
  const { out: version } = await command(process.execPath, [launcher, "--version"], { cwd: clone });
  assert.equal(version, `ringside ${manifest.version}\n`);
  // 0.1 s when this was written: a busy machine needs longer, a build or an install would need far longer.
  assert.ok(performance.now() - start < 4000, `found ${performance.now() - start} ms`);
  assert.ok(!existsSync(path.join(clone, "dist")));
});

test("a command that needs a build says what to run", async () => {
  const { err } = await command(process.execPath, [launcher, "paper"], { cwd: clone, expect: 1 });
  assert.match(err, /^ringside: .*npm ci/);
});

for (const place of [".", "docs"]) {
  test(`npx ${manifest.name} runs the clone's own command in ${place}`, async () => {
    // Offline: were it to look for a package of that name, it would fail.
    const args = ["exec", "--offline", "--yes", "--", manifest.name, "--version"];
    const { out } = await npm(args, { cwd: path.join(clone, place) });
    assert.equal(out, `ringside ${manifest.version}\n`);
  });
}
