// `npm test -- --watch`: builds and runs unit tests in Node whenever a source changes.
import { existsSync, readdirSync, readFileSync, watch as watchFolder } from "node:fs";
import path from "node:path";
import process from "node:process";
import { build } from "./build.mjs";
import { findAdapter } from "./adapter.mjs";
import { root, run, SetupError, since } from "./common.mjs";

const FOLDERS = ["engine", "web", "test", "cuda-bridge", "shaders"];
/** Milliseconds without a further change before tests run: an editor writes several files at once. */
const QUIET = 100;

/** Every file that a source names by a relative path: what it imports, and what it reads by address. */
function named(file) {
  const names = readFileSync(file, "utf8").matchAll(/["'`](\.\.?\/[^"'`\n]+)["'`]/g);
  return [...names].map(([, name]) => path.resolve(path.dirname(file), name.split("?")[0]));
}

/** The unit tests that reach one of the changed files through what they import. */
function reaching(changed) {
  const reached = new Map();
  const reaches = (file) => {
    if (changed.has(file)) return true;
    const known = reached.get(file);
    if (known !== undefined) return known;
    reached.set(file, false);
    const found = file.endsWith(".ts") && existsSync(file) && named(file).some(reaches);
    reached.set(file, found);
    return found;
  };
  return readdirSync(path.join(root, "test/unit"), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => path.join(root, "test/unit", name))
    .filter(reaches);
}

/** Runs until Ctrl-C. `texts`: parts of the paths of the tests to run; none: those that reach what changed. */
export async function watch({ texts, grep }) {
  const { env } = await findAdapter("node");
  let changed = new Set(), running = false, timer;

  const go = async () => {
    if (running || changed.size === 0) return;
    running = true;
    const now = changed;
    changed = new Set();
    const start = performance.now();
    try {
      await build({ quiet: true });
      const all = reaching(now);
      const files = texts.length ? all.filter((file) => texts.some((text) => file.includes(text))) : all;
      if (files.length) {
        const tests = files.map((file) => path.join("dist", path.relative(root, file).replace(/\.ts$/, ".js")));
        const pattern = grep === undefined ? [] : [`--test-name-pattern=${grep}`];
        await run(
          process.execPath,
          ["--enable-source-maps", "--test", "--test-reporter=dot", "--test-concurrency=1", ...pattern, ...tests],
          { env },
        );
      }
      console.log(`watch    ${files.length} test files in ${since(start)}; waiting for a change`);
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      console.log(error.message);
    }
    running = false;
    void go();
  };

  for (const folder of FOLDERS) {
    watchFolder(path.join(root, folder), { recursive: true }, (_, name) => {
      if (!/\.(ts|wgsl|json|npy|safetensors)$/.test(name ?? "")) return;
      changed.add(path.join(root, folder, name));
      clearTimeout(timer);
      timer = setTimeout(go, QUIET);
    });
  }
  await build();
  console.log("watch    waiting for a change; Ctrl-C ends it");
  await new Promise(() => {});
}
