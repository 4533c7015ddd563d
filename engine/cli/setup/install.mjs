// Makes node_modules match package-lock.json. If it is missing or stale, runs `npm ci`, or `npm install` if the lock
// file is not complete enough for `npm ci`.
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

/** Why node_modules has to be installed, or undefined if it matches the lock file. */
export function staleReason() {
  const lock = readJson("package-lock.json");
  if (!lock) return existsSync(path.join(root, "node_modules")) ? undefined : "node_modules is missing";
  // npm's own list of what it installed. Comparing it takes a few milliseconds.
  const installed = readJson("node_modules", ".package-lock.json");
  if (!installed) return "node_modules is missing or was not finished";
  for (const [key, wanted] of Object.entries(lock.packages)) {
    if (key === "" || wanted.link) continue;
    const have = installed.packages[key];
    // An optional package for another platform is absent on purpose.
    if (!have && wanted.optional) continue;
    if (!have || !existsSync(path.join(root, key, "package.json"))) return `${key} is missing`;
    if (have.version !== wanted.version) return `${key} is ${have.version}, package-lock.json has ${wanted.version}`;
  }
  return undefined;
}

/** Do package.json and the lock file name the same direct dependencies? If not, `npm ci` fails. */
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
 * Does the lock file have an entry for every dependency of every package in it? If not, `npm ci` fails. npm leaves out
 * an optional package that was not in the registry when the lock file was made, such as a runtime's build for another
 * platform that is published a little later.
 */
function lockComplete() {
  const { packages } = readJson("package-lock.json");
  const names = new Set(Object.keys(packages).map((key) => key.split("node_modules/").at(-1)));
  return Object.values(packages).every((entry) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies }).every((name) => names.has(name))
  );
}

/**
 * Installs the dependencies if needed, and prints one line about it.
 * @throws {SetupError} if npm failed
 */
export async function install() {
  checkNode();
  const fits = lockFits();
  const reason = staleReason() ?? (fits ? undefined : "package.json and package-lock.json differ");
  if (!reason) {
    console.log("install  dependencies are up to date");
    return;
  }
  const start = performance.now();
  const command = fits && lockComplete() ? "ci" : "install";
  console.log(`install  npm ${command} (${reason}) ...`);
  // We need the development packages (Deno, TypeScript, the Chromium) whatever NODE_ENV says.
  // --omit-lockfile-registry-resolved keeps registry addresses out of the lock file.
  const args = [
    command,
    "--include=dev",
    "--include=optional",
    "--no-audit",
    "--no-fund",
    "--omit-lockfile-registry-resolved",
    "--loglevel=error",
  ];
  // Both commands take the versions from the lock file. It is rewritten only if package.json differs from it.
  if (fits && command === "install") args.push("--no-save");
  const result =
    await (process.env.npm_execpath?.endsWith("npm-cli.js")
      ? run(process.execPath, [process.env.npm_execpath, ...args])
      : run(process.platform === "win32" ? "npm.cmd" : "npm", args));
  if (result.code !== 0) {
    throw new SetupError(
      `npm ${command} ended with status ${result.code}; its messages are above. ` +
        "It needs the network (the npm registry) and about 700 MB of disk.",
    );
  }
  console.log(`install  dependencies installed in ${since(start)}`);
}

if (isMain(import.meta.url)) runMain(install);
