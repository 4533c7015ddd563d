// Builds dist/, the JavaScript that Node runs: TypeScript with its types taken off, shaders and data files beside it.
// Only when a source has changed.
//
// Types are not checked here (`npm run check` does that), so that an unfinished file elsewhere does not keep a program
// from running.
// Each build is a folder of its own, and dist a link that is pointed at it when it is whole: several processes may
// build at once, none sees half a build, and what a running command loads later comes from the build that it began
// with.
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import process from "node:process";
import { isClone, isMain, root, run, runMain, SetupError, since } from "./common.mjs";

const SOURCES = ["engine", "web", "test", "cuda-bridge", "shaders"];
const IGNORED = new Set(["node_modules", "dist", "setup", "__pycache__", ".venv"]);
/** Files that a program or test reads at run time, by an address relative to its own file. */
const DATA = /\.(wgsl|json|npy|safetensors|txt|csv)$/;
/** Compiled files that start workers; the page's are Vite's to build. */
const STARTERS = ["engine", "cuda-bridge/client"].flatMap((folder) =>
  ["browser.js", "deno.js"].map((name) => path.join(folder, name))
);
const DATA_FOLDERS = ["shaders", "engine", "test", "cuda-bridge"];

const dist = path.join(root, "dist");
/** What package.json's exports name: a link to dist in a clone, a folder in an installed package. */
const pkg = path.join(root, "pkg");
const stampFile = path.join(dist, ".stamp");

function* files(folder) {
  for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
    if (IGNORED.has(entry.name)) continue;
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* files(file);
    else if (entry.isFile()) yield file;
  }
}

/** A hash of every source's name, size and time: it changes when one is edited, added or removed. */
function fingerprint() {
  const hash = createHash("sha256");
  const all = SOURCES.filter((folder) => existsSync(path.join(root, folder))).flatMap((folder) => [...files(folder)])
    .filter((file) => file.endsWith(".ts") || DATA.test(file));
  for (const file of [...all, "tsconfig.json", "package.json", "engine/cli/setup/build.mjs"].sort()) {
    const { mtimeMs, size } = statSync(path.join(root, file), { throwIfNoEntry: false }) ?? { mtimeMs: 0, size: 0 };
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

/** Is dist/ newer than every source? */
export function isFresh() {
  return existsSync(stampFile) && readFileSync(stampFile, "utf8") === fingerprint();
}

/** Compiled code starts a worker by the address of its source (`new URL("./x.ts", …)`): this makes it the compiled one. */
export const workerUrls = (text) => text.replaceAll(/(new URL\("\.[^"]+)\.ts(", import\.meta\.url\))/g, "$1.js$2");

/** Makes pkg a link to dist, where nothing is in its place. */
export function linkPackage() {
  try {
    symlinkSync("dist", pkg, "junction");
  } catch {
    // It exists: the link, or the folder that is being packed.
  }
}

/** Folders of builds: dist is a link to one of them. */
const BUILD = /^dist\.[0-9a-f]{16}\.local$/;
/**
 * Milliseconds after which a build that nobody links to is removed: commands that were started from it load parts of it
 * later.
 */
const KEEP = 60 * 60_000;

/** Points dist at a build in one step: a command that starts meanwhile sees the old one or the new one, whole. */
function swapIn(build) {
  const link = path.join(root, `dist.${process.pid}.link.local`);
  rmSync(link, { force: true });
  symlinkSync(path.basename(build), link, "junction");
  try {
    renameSync(link, dist);
  } catch {
    // A folder stands there, of a Ringside that had no link; or this system replaces no link by another.
    rmSync(dist, { recursive: true, force: true });
    renameSync(link, dist);
  }
  for (const name of readdirSync(root)) {
    const folder = path.join(root, name);
    if (BUILD.test(name) && name !== path.basename(build) && Date.now() - statSync(folder).mtimeMs > KEEP) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/**
 * Brings dist/ up to date.
 * @param {{quiet?: boolean}} [options] quiet: a line only when something was built, and that on stderr
 * @throws {SetupError} when the compiler failed
 */
export async function build({ quiet = false } = {}) {
  if (!isClone) return;
  if (isFresh()) {
    linkPackage();
    if (!quiet) console.log("build    dist/ is up to date");
    return;
  }
  const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
  if (!existsSync(tsc)) {
    throw new SetupError(
      "dist/ has to be built and TypeScript is not installed. Run `npm start` (or `npm ci`) in the project's folder first.",
    );
  }
  const start = performance.now();
  // Taken before the compiler reads: an edit during the build then counts as newer than the build.
  const stamp = fingerprint();
  const made = path.join(root, `dist.${process.pid}.making.local`);
  const build = path.join(root, `dist.${stamp.slice(0, 16)}.local`);
  try {
    const result = await run(process.execPath, [tsc, "--noCheck", "--outDir", made], { output: "capture" });
    if (result.code !== 0) throw new SetupError(`the TypeScript compiler failed:\n${(result.out + result.err).trim()}`);
    mkdirSync(made, { recursive: true });
    for (const folder of DATA_FOLDERS.filter((name) => existsSync(path.join(root, name)))) {
      for (const file of files(folder)) if (DATA.test(file)) cpSync(path.join(root, file), path.join(made, file));
    }
    for (const file of STARTERS) {
      const whole = path.join(made, file);
      if (existsSync(whole)) writeFileSync(whole, workerUrls(readFileSync(whole, "utf8")));
    }
    writeFileSync(path.join(made, ".stamp"), stamp);
    try {
      renameSync(made, build);
    } catch (error) {
      // Another process made the same one meanwhile.
      if (!existsSync(path.join(build, ".stamp"))) throw error;
    }
    swapIn(build);
    linkPackage();
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  (quiet ? console.error : console.log)(`build    dist/ built in ${since(start)}`);
}

if (isMain(import.meta.url)) runMain(() => build());
