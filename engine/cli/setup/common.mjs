// What the set-up scripts share: the project's folder, errors for people, and child processes that end with their
// parent.
//
// These scripts are plain JavaScript and use only Node's built-in modules. They run before anything is installed or
// built, and Node 20 cannot strip types.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The project's folder: the one with package.json, engine/ and dist/. */
export const root = fileURLToPath(new URL("../../../", import.meta.url)).replace(/[/\\]$/, "");

/** Is this a clone, with sources to build from? An installed package has compiled files only. */
export const isClone = existsSync(path.join(root, "tsconfig.json"));

/** An error for the person at the terminal: only its message is printed, without a stack. */
export class SetupError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Was this file named on the command line (and not imported)? */
export function isMain(importMetaUrl) {
  return !!process.argv[1] && existsSync(process.argv[1]) &&
    realpathSync(process.argv[1]) === fileURLToPath(importMetaUrl);
}

/**
 * Runs a script's main function and ends with the status it returns. A SetupError prints one message; any other error
 * keeps its stack.
 */
export async function runMain(main) {
  try {
    process.exitCode = (await main(process.argv.slice(2))) ?? 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`ringside: ${error.message}`);
    process.exitCode = error.exitCode;
  }
}

/** Seconds since `start` (a performance.now()), as "1.2 s". */
export const since = (start) => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/** How long a child may take to end on request, before its whole group is killed. */
const GRACE_MS = 5000;

const children = new Set();

/**
 * Runs a command to its end.
 * @param {string} file the executable
 * @param {string[]} args
 * @param {{
 *   env?: NodeJS.ProcessEnv,
 *   cwd?: string,
 *   output?: "inherit" | "capture" | ((text: string) => void),
 *   limitMs?: number,
 * }} [options] A function gets the output as it comes. A command that outlives `limitMs` is ended with all its children.
 * @returns {Promise<{code: number, signal: string | null, out: string, err: string, timedOut: boolean}>} code is 127
 * if it could not be started
 */
export function run(file, args, { env = process.env, cwd = root, output = "inherit", limitMs = 0 } = {}) {
  return new Promise((resolve) => {
    const pipe = output === "inherit" ? "inherit" : "pipe";
    // The child leads its own group. Ctrl-C then reaches only this process, which ends the whole group, as a limit
    // does.
    const child = spawn(file, args, {
      env,
      cwd,
      stdio: ["ignore", pipe, pipe],
      detached: process.platform !== "win32",
    });
    children.add(child);
    let out = "", err = "", timedOut = false;
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      out += text;
      if (typeof output === "function") output(text);
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      err += text;
      if (typeof output === "function") output(text);
    });
    const timer = limitMs > 0
      ? setTimeout(() => {
        timedOut = true;
        endChild(child);
      }, limitMs)
      : undefined;
    const finish = (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      resolve({ code, signal, out, err, timedOut });
    };
    child.on("error", (error) => {
      err += error.message;
      finish(127, null);
    });
    child.on("close", (code, signal) => finish(code ?? 128 + (os.constants.signals[signal] ?? 0), signal));
  });
}

function signalGroup(child, signal) {
  try {
    if (process.platform === "win32") child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch {
    // The group has ended already.
  }
}

/** Asks the child to end, then kills the rest of its group: a browser or a worker that its parent left behind. */
async function endChild(child) {
  if (child.pid === undefined) return;
  const ended = child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", resolve));
  // Only on SIGINT, and not on SIGTERM, does Playwright end its browser and its web server, which lead other groups.
  child.kill("SIGINT");
  let timer;
  await Promise.race([ended, new Promise((resolve) => timer = setTimeout(resolve, GRACE_MS))]);
  clearTimeout(timer);
  signalGroup(child, "SIGKILL");
}

/** Ends every child that run() started. */
export const endChildren = () => Promise.all([...children].map(endChild));

/**
 * On Ctrl-C or SIGTERM, ends every child that run() started, calls `cleanup` and exits. The exit status is 130 or 143,
 * unless `status` returns another.
 */
export function endOnSignal(cleanup = async () => {}, status = undefined) {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    let ending = false;
    process.on(signal, async () => {
      if (ending) return;
      ending = true;
      await endChildren();
      await cleanup();
      process.exit(status?.() ?? 128 + os.constants.signals[signal]);
    });
  }
}

/**
 * The Deno in node_modules, else one on PATH. We skip the package's own launcher: it waits in spawnSync, so it cannot
 * pass a signal on.
 * @returns {string} the executable
 */
export function denoPath() {
  const exe = process.platform === "win32" ? "deno.exe" : "deno";
  const inModules = (modules) => {
    const platforms = path.join(modules, "@deno");
    const names = existsSync(platforms) ? readdirSync(platforms) : [];
    return [path.join(modules, "deno", exe), ...names.map((name) => path.join(platforms, name, exe))];
  };
  // An installed package lies in the node_modules of a project, which may have Deno.
  const above = path.dirname(root);
  const folders = [path.join(root, "node_modules"), ...(path.basename(above) === "node_modules" ? [above] : [])];
  const found = [...folders.flatMap(inModules), onPath(exe)].find((file) => file && existsSync(file));
  if (!found) {
    throw new SetupError(
      "Deno was not found in node_modules or on PATH. It comes with the npm package `deno`: run `npm ci` in a clone, " +
        "`npm install deno` in a project.",
    );
  }
  return found;
}

/** The first executable of that name on PATH, or undefined. */
export function onPath(name, env = process.env) {
  return (env.PATH ?? "").split(path.delimiter).filter(Boolean).map((dir) => path.join(dir, name)).find((file) =>
    existsSync(file)
  );
}
