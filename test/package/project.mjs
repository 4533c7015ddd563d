/** What the package's tests share: the tarball, made once, and an empty project in which it is installed. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { endOnSignal, root, run } from "../../engine/cli/setup/common.mjs";

export { root };

/** The project's package.json. */
export const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

/** No child outlives this. */
const LIMIT_MS = 180_000;

/** A folder that is removed when this process ends. */
export function temporary() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringside-package-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
endOnSignal();

/**
 * Runs a command and gives back what it printed.
 * @throws {Error} with all of it, unless its status is `expect`
 */
export async function command(file, args, { cwd, env, expect = 0 } = {}) {
  const ended = await run(file, args, { cwd, env: env ?? process.env, output: "capture", limitMs: LIMIT_MS });
  if (ended.code !== expect) {
    const how = ended.timedOut ? `took longer than ${LIMIT_MS / 1000} s` : `status ${ended.code}, expected ${expect}`;
    throw new Error(`${path.basename(file)} ${args.join(" ")}: ${how}\n${ended.out}${ended.err}`);
  }
  return ended;
}

/** npm, as the one that started this process or as PATH has it. */
export function npm(args, options) {
  const script = process.env.npm_execpath;
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"];
  return script?.endsWith("npm-cli.js")
    ? command(process.execPath, [script, ...args, ...quiet], options)
    : command(process.platform === "win32" ? "npm.cmd" : "npm", [...args, ...quiet], options);
}

let packing;
/** The tarball as `npm pack` makes it, with npm's list of its files. */
export function tarball() {
  return packing ??= (async () => {
    const folder = temporary();
    const { out } = await npm(["pack", "--json", "--pack-destination", folder], { cwd: root });
    // npm prints the output of the scripts that it runs before its own.
    const [facts] = JSON.parse(out.slice(out.search(/^\[/m)));
    return { file: path.join(folder, facts.filename), ...facts };
  })();
}

let installing;
/** The folder of an empty project in which the tarball is installed and app/ is copied. */
export function project() {
  return installing ??= (async () => {
    const { file } = await tarball();
    const folder = temporary();
    writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
    await npm(["install", file], { cwd: folder });
    cpSync(path.join(root, "test", "package", "app"), folder, { recursive: true });
    return folder;
  })();
}

/** Puts a package of the clone's node_modules into a project, as if it were installed there. */
export function lend(folder, name) {
  const place = path.join(folder, "node_modules", name);
  mkdirSync(path.dirname(place), { recursive: true });
  if (!existsSync(place)) symlinkSync(path.join(root, "node_modules", name), place, "dir");
}

/**
 * The Bun of node_modules. The install script of `bun` moves the binary from the platform's own package into `bun`;
 * where npm leaves install scripts out, it stays there, and `bun` has a text of some hundred bytes.
 */
export function bunPath() {
  const modules = path.join(root, "node_modules");
  const own = path.join(modules, "@oven");
  const places = [
    path.join(modules, "bun", "bin", "bun.exe"),
    ...(existsSync(own) ? readdirSync(own).map((name) => path.join(own, name, "bin", "bun")) : []),
  ];
  const found = places.find((place) => existsSync(place) && statSync(place).size > 1e6);
  if (!found) throw new Error(`Bun: found no binary at ${places.join(" or ")}, expected one; run npm ci`);
  return found;
}
