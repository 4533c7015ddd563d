// `npm run check`: types, lint, and the format of TypeScript, CSS, JSON, Markdown and Python.
//
// Python needs the worker's test environment (`node engine/cli/setup/python.mjs --install`).
import path from "node:path";
import process from "node:process";
import { denoPath, isMain, root, run, runMain, SetupError } from "./common.mjs";
import { findWorkerPython } from "./python.mjs";

const must = async (file, args) => {
  const { code } = await run(file, args, { env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" }, limitMs: 5 * 60_000 });
  if (code !== 0) throw new SetupError(`status ${code}`);
};

/** Runs ruff on the Python, or returns a note that it did not run because the worker's environment is missing. */
async function ruff(...args) {
  const { python } = await findWorkerPython();
  if (!python) return "not run: the worker's Python is not set up";
  await must(python, ["-m", "ruff", ...args, "--quiet", "cuda-bridge"]);
}

/** Each check by its label. It throws if it finds something, and may return a note. */
export const checks = [
  ["types (tsc)", () => must(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "--noEmit"])],
  ["lint (deno lint)", () => must(denoPath(), ["lint", "--quiet"])],
  ["format (deno fmt)", () => must(denoPath(), ["fmt", "--quiet", "--check"])],
  ["lint (ruff check)", () => ruff("check")],
  ["format (ruff format)", () => ruff("format", "--check")],
];

if (isMain(import.meta.url)) {
  runMain(async () => {
    let failed = 0;
    for (const [label, check] of checks) {
      try {
        const note = await check();
        console.log(`ok      ${label}${note ? ` (${note})` : ""}`);
      } catch (error) {
        failed = 1;
        console.log(`FAILED  ${label}: ${error.message}`);
      }
    }
    return failed;
  });
}
