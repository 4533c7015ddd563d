// Makes node_modules match package-lock.json: `npm ci` (or `npm install`, where the lock file does not suit that) when
// it is missing or stale, nothing otherwise.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { isMain, root, run, runMain, SetupError, since } from "./common.mjs";

const OLDEST_NODE = [20, 19];

const readJson = (...names) => {
  const file = path.join(root, ...names);
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
};

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    throw new SetupError(
      `Node ${process.versions.node} is too old: Ringside needs Node ${OLDEST_NODE.join(".")} or newer.`,
    );
  }
}

/** Why node_modules has to be installed, or undefined when it matches the lock file. */
export function staleReason() {
  const lock = readJson("package-lock.json");
  if (!lock) return existsSync(path.join(root, "node_modules")) ? undefined : "node_modules is missing";
  // npm keeps this list of what it installed; comparing it costs a few milliseconds.
  const installed = readJson("node_modules", ".package-lock.json");
  if (!installed) return "node_modules is missing or was not finished";
  for (const [key, wanted] of Object.entries(lock.packages)) {
    if (key === "" || wanted.link) continue;
    const have = installed.packages[key];
    // An optional package for another platform is rightly absent.
    if (!have && wanted.optional) continue;
    if (!have || !existsSync(path.join(root, key, "package.json"))) return `${key} is missing`;
    if (have.version !== wanted.version) return `${key} is ${have.version}, package-lock.json has ${wanted.version}`;
  }
  return undefined;
}

/** Do package.json and the lock file name the same direct dependencies? `npm ci` refuses otherwise. */
function lockFits() {
  const lock = readJson("package-lock.json");
  const manifest = readJson("package.json");
  const direct = (part) =>
    JSON.stringify(
      Object.entries({ ...part?.dependencies, ...part?.devDependencies, ...part?.optionalDependencies }).sort(),
    );
  return !!lock && direct(lock.packages[""]) === direct(manifest);
}

/**
 * Has the lock file an entry for every dependency of every package in it? `npm ci` refuses otherwise. npm leaves out an
 * optional package that the registry did not have when the lock file was made: a runtime's build for another platform,
 * which is published a little later.
 */
function lockComplete() {
  const { packages } = readJson("package-lock.json");
  const names = new Set(Object.keys(packages).map((key) => key.split("node_modules/").at(-1)));
  return Object.values(packages).every((entry) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }).every((name) => names.has(name))
  );
}

/**
 * Installs the dependencies if need be and says in a line what was done.
 * @throws {SetupError} when npm failed
 */
export async function install() {
  checkNode();
  const fits = lockFits();
  const reason = staleReason() ?? (fits ? undefined : "package.json and package-lock.json differ");
  if (!reason) {
    console.log("install  dependencies are there");
    return;
  }
  const start = performance.now();
  const command = fits && lockComplete() ? "ci" : "install";
  console.log(`install  npm ${command} (${reason}) ...`);
  // Development packages hold Deno, TypeScript and the Chromium, so they are wanted whatever NODE_ENV says; the lock
  // file stays free of registry addresses.
  const args = [
    command,
    "--include=dev",
    "--include=optional",
    "--no-audit",
    "--no-fund",
    "--omit-lockfile-registry-resolved",
    "--loglevel=error",
  ];
  // The versions come from the lock file either way; it is rewritten only when package.json asks for something else.
  if (fits && command === "install") args.push("--no-save");
  const result =
    await (process.env.npm_execpath?.endsWith("npm-cli.js")
      ? run(process.execPath, [process.env.npm_execpath, ...args])
      : run(process.platform === "win32" ? "npm.cmd" : "npm", args));
  if (result.code !== 0) {
    throw new SetupError(
      `npm ${command} ended with status ${result.code}: what it said is above. It needs the network (the npm registry) and about 700 MB of disk.`,
    );
  }
  console.log(`install  dependencies installed in ${since(start)}`);
}

if (isMain(import.meta.url)) runMain(install);
