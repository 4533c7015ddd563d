// `npm run check`: types, lint, and the format of TypeScript, CSS, JSON, Markdown and Python.
//
// Python needs the worker's test environment (`node engine/cli/setup/python.mjs --install`).
import { readdirSync, readFileSync } from "node:fs";
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

const FOLDERS = ["engine", "shaders", "cuda-bridge", "web", "test", ".ci"];
const CODE = /(\.(ts|mjs|css|html|wgsl|py|sh)|\.ci\/run)$/;
/** Characters of a line. The formatters break at 120 what they can: not strings, comments and templates, nor WGSL. */
const WIDEST = 140;

/** Every line of code that is wider, by file and line. */
function width() {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true })
      .map((name) => path.join(folder, name))
      .filter((name) => CODE.test(name) && !/(^|\/)(node_modules|dist|\.venv|build)\//.test(name))
  );
  const wide = files.flatMap((file) =>
    readFileSync(path.join(root, file), "utf8").split("\n")
      .map((line, i) => line.length > WIDEST ? `${file}:${i + 1}: ${line.length} characters` : "")
      .filter(Boolean)
  );
  if (wide.length) throw new SetupError(`expected at most ${WIDEST} characters a line\n${wide.join("\n")}`);
}

/** Each check by its label. It throws if it finds something, and may return a note. */
export const checks = [
  ["types (tsc)", () => must(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "--noEmit"])],
  ["lint (deno lint)", () => must(denoPath(), ["lint", "--quiet"])],
  ["format (deno fmt)", () => must(denoPath(), ["fmt", "--quiet", "--check"])],
  ["lint (ruff check)", () => ruff("check")],
  ["width of lines", width],
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
