// Finds the Python that runs the native worker (cuda-bridge/worker), or makes a virtual environment for it: .venv in
// the project's folder, with the PyTorch from the index in pip's settings.
//
// RINGSIDE_PYTHON names a Python that already has everything; no other one is tried then. `node
// engine/cli/setup/python.mjs` prints the Python to use, and `--install` makes it first. A stamp in .venv holds the hash
// of requirements.txt. It is written last, so an interrupted install continues on the next run.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { isMain, onPath, root, run, runMain, SetupError, since } from "./common.mjs";

const OLDEST = [3, 11];
const requirements = path.join(root, "cuda-bridge", "worker", "requirements.txt");
const venv = path.join(root, ".venv");
const venvPython = process.platform === "win32"
  ? path.join(venv, "Scripts", "python.exe")
  : path.join(venv, "bin", "python");
const stampFile = path.join(venv, ".ringside-stamp");
const INSTALL_LIMIT_MS = 15 * 60_000;

const stamp = () => createHash("sha256").update(readFileSync(requirements)).digest("hex");
const installed = () => existsSync(venvPython) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp();

/** The output of a few lines of Python, or undefined if `python` fails or does not answer in time. */
async function ask(python, code) {
  const { code: status, out } = await run(python, ["-c", code], { output: "capture", limitMs: 60_000 });
  return status === 0 ? out.trim() : undefined;
}

const MODULES = [
  "torch",
  "numpy",
  "websockets",
  "jsonschema",
  "pytest",
  "pytest_timeout",
  "hypothesis",
  "yaml",
  "ruff",
];
const missingModules = (python) =>
  ask(
    python,
    `import importlib.util as u; print(" ".join(m for m in ${JSON.stringify(MODULES)} if u.find_spec(m) is None))`,
  );

/**
 * The Python that runs the worker and its tests, or else the reason there is none and what to do. Installs nothing, and
 * takes less than a second.
 * @returns {Promise<{python: string, reason?: undefined} | {python?: undefined, reason: string}>}
 */
export async function findWorkerPython() {
  const named = process.env.RINGSIDE_PYTHON;
  if (named) {
    const missing = await missingModules(named);
    if (missing === undefined) return { reason: `RINGSIDE_PYTHON: "${named}" is not a working Python` };
    return missing === ""
      ? { python: named }
      : { reason: `RINGSIDE_PYTHON: ${named} lacks ${missing}; expected all of cuda-bridge/worker/requirements.txt` };
  }
  if (installed()) return { python: venvPython };
  return {
    reason:
      "the worker's Python is not set up: run `node engine/cli/setup/python.mjs --install` (or `npm run test:all`), " +
      "or set RINGSIDE_PYTHON to a Python that has everything in cuda-bridge/worker/requirements.txt",
  };
}

/** A Python on PATH that is new enough to make the environment. */
async function basePython() {
  const seen = [];
  for (const name of ["python3", "python3.13", "python3.12", "python3.11", "python"]) {
    const file = onPath(name) ?? onPath(`${name}.exe`);
    const version = file && await ask(file, "import sys; print(*sys.version_info[:2])");
    if (!version) continue;
    const [major, minor] = version.split(" ").map(Number);
    if (major === OLDEST[0] && minor >= OLDEST[1]) return file;
    seen.push(`${file} is ${major}.${minor}`);
  }
  throw new SetupError(
    `no Python of ${OLDEST.join(".")} or newer was found on PATH${
      seen.length ? ` (${seen.join(", ")})` : ""
    }. Debian, Ubuntu: apt-get install python3 python3-venv`,
  );
}

/**
 * The Python of `findWorkerPython`. If there is none, makes .venv and installs requirements.txt into it, and prints a
 * line about each step.
 * @returns {Promise<string>}
 * @throws {SetupError} names what is missing and how to get it
 */
export async function installWorkerPython() {
  const found = await findWorkerPython();
  if (found.python) return found.python;
  if (process.env.RINGSIDE_PYTHON) throw new SetupError(found.reason);
  const start = performance.now();
  if (await ask(venvPython, "import pip") === undefined) {
    const base = await basePython();
    console.log(`worker   ${base} -m venv .venv ...`);
    rmSync(venv, { recursive: true, force: true });
    const { code, out, err } = await run(base, ["-m", "venv", venv], { output: "capture", limitMs: INSTALL_LIMIT_MS });
    if (code !== 0) {
      rmSync(venv, { recursive: true, force: true });
      throw new SetupError(
        `${base} -m venv ended with status ${code}. Debian, Ubuntu: apt-get install python3-venv. Its messages:\n${
          (out + err).trim()
        }`,
      );
    }
  }
  console.log(
    "worker   pip install -r cuda-bridge/worker/requirements.txt " +
      "(takes minutes; PyTorch and the rest need 1 GB, or 4 GB if the index has only the CUDA build) ...",
  );
  const args = [
    "-m",
    "pip",
    "install",
    "--retries",
    "0",
    "--disable-pip-version-check",
    "--progress-bar",
    "off",
    "--quiet",
    "-r",
    requirements,
  ];
  const { code, timedOut } = await run(venvPython, args, { limitMs: INSTALL_LIMIT_MS });
  if (code !== 0) {
    throw new SetupError(
      `pip ${
        timedOut ? `took longer than ${INSTALL_LIMIT_MS / 60_000} minutes` : `ended with status ${code}`
      }; its messages are above. It needs the network (PyPI, or the index in pip's settings) ` +
        "and about 2 GB of disk. Run it again to continue.",
    );
  }
  const missing = await missingModules(venvPython);
  if (missing !== "") {
    throw new SetupError(
      `pip succeeded, but .venv lacks ${missing ?? "a working Python"}: remove .venv and run again`,
    );
  }
  writeFileSync(stampFile, stamp());
  console.log(`worker   Python is set up in ${since(start)}`);
  return venvPython;
}

if (isMain(import.meta.url)) {
  runMain(async (args) => {
    if (args.some((arg) => arg !== "--install")) {
      throw new SetupError(`found "${args.join(" ")}", expected --install or nothing`, 2);
    }
    if (args.length) await installWorkerPython();
    const { python, reason } = await findWorkerPython();
    if (!python) throw new SetupError(reason);
    console.log(python);
  });
}
