// Makes pkg/, the JavaScript, declarations, shaders and data that the npm package carries. `npm pack` and `npm publish`
// run it first (prepack), and with --link afterwards (postpack).
//
// In a clone pkg is a link to dist, so that programs there can import the package by its name. npm leaves links out of a
// package, so a folder takes the link's place while npm packs. It holds what the files of tsconfig.package.json import,
// and of the declarations only those that a user's compiler reads.
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import process from "node:process";
import { linkPackage, workerUrls } from "./build.mjs";
import { isMain, root, run, runMain, SetupError, since } from "./common.mjs";

/** Files that the package reads at run time, beside its JavaScript. */
const DATA = [
  ...readdirSync(path.join(root, "shaders")).filter((name) => name.endsWith(".wgsl")).map((name) => `shaders/${name}`),
  "cuda-bridge/protocol/messages.schema.json",
];

/** A file that a declaration imports. TypeScript leaves the sources' names in declarations. */
const IMPORTED = /((?:from |import\(|import )")(\.[^"]+)\.ts"/g;

/** The files of a folder, by their paths below it. */
function* filesOf(folder, below = "") {
  for (const entry of readdirSync(path.join(folder, below), { withFileTypes: true })) {
    const file = path.join(below, entry.name);
    if (entry.isDirectory()) yield* filesOf(folder, file);
    else yield file;
  }
}

/** The declarations that package.json's exports name, and those that these import. */
function publicDeclarations(folder) {
  const { exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const waiting = Object.values(exports).map((entry) => entry.types).filter((types) => types?.startsWith("./pkg/"))
    .map((types) => path.normalize(types.slice("./pkg/".length)));
  const found = new Set();
  while (waiting.length) {
    const file = waiting.pop();
    if (found.has(file)) continue;
    found.add(file);
    const text = readFileSync(path.join(folder, file), "utf8");
    for (const [, , name] of text.matchAll(IMPORTED)) {
      waiting.push(path.join(path.dirname(file), `${name}.d.ts`));
    }
  }
  return found;
}

/** Removes declarations that no export leads to. Makes the others independent of a user's `lib` setting. */
function finishDeclarations(folder) {
  const wanted = publicDeclarations(folder);
  for (const file of [...filesOf(folder)].filter((name) => name.endsWith(".d.ts"))) {
    const whole = path.join(folder, file);
    if (!wanted.has(file)) rmSync(whole);
    else {
      const text = readFileSync(whole, "utf8").replaceAll(IMPORTED, '$1$2.js"');
      // TypeScript 7 has WebGPU's types, TypeScript 5 has not, and @webgpu/types has them a second time.
      const gpu = /\bGPU[A-Z]\w+|\bGPU\b(?=[;,)|>\]])/.exec(text.replaceAll(/\/\*[\s\S]*?\*\//g, ""));
      if (gpu) throw new SetupError(`${file}: found the type ${gpu[0]}, which not every user's compiler has`);
      const disposes = text.includes("Symbol.asyncDispose") || text.includes("Symbol.dispose");
      writeFileSync(whole, `${disposes ? '/// <reference lib="esnext.disposable" />\n' : ""}${text}`);
    }
  }
}

/** Lets the JavaScript start its workers, and makes sure that every file it names by address is in the folder. */
function finishCode(folder) {
  for (const file of [...filesOf(folder)].filter((name) => name.endsWith(".js"))) {
    const whole = path.join(folder, file);
    const text = workerUrls(readFileSync(whole, "utf8"));
    writeFileSync(whole, text);
    for (const [, name] of text.matchAll(/new URL\("(\.[^"]+\.\w+)", import\.meta\.url\)/g)) {
      if (!existsSync(path.join(path.dirname(whole), name)) && !name.endsWith("package.json")) {
        throw new SetupError(`${file} names ${name}, which the package would lack: add it to tsconfig.package.json`);
      }
    }
  }
}

const target = path.join(root, "pkg");

/** Takes what is at pkg away, and `put`s something else there: in between a program would find nothing, for a moment. */
function swap(put) {
  const aside = path.join(root, `pkg.${process.pid}.old.local`);
  if (lstatSync(target, { throwIfNoEntry: false })) renameSync(target, aside);
  put();
  rmSync(aside, { recursive: true, force: true });
}

/**
 * Makes pkg/ a folder with the package's files.
 * @throws {SetupError} if the compiler finds an error, or a file would be missing
 */
export async function makePackage() {
  const start = performance.now();
  const made = path.join(root, `pkg.${process.pid}.making.local`);
  try {
    const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
    if (!existsSync(tsc)) throw new SetupError("packing needs TypeScript: run `npm ci` first");
    const args = [tsc, "-p", path.join(root, "tsconfig.package.json"), "--outDir", made];
    const { code, out, err } = await run(process.execPath, args, { output: "capture" });
    if (code !== 0) throw new SetupError(`the TypeScript compiler failed:\n${(out + err).trim()}`);
    for (const file of DATA) {
      mkdirSync(path.dirname(path.join(made, file)), { recursive: true });
      cpSync(path.join(root, file), path.join(made, file));
    }
    finishDeclarations(made);
    finishCode(made);
    swap(() => renameSync(made, target));
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  // npm's own output may be read by programs (`npm pack --json`).
  console.error(`pack     pkg/ made in ${since(start)}`);
}

/** Puts the link to dist back in place of the folder. */
export function unmakePackage() {
  swap(linkPackage);
}

if (isMain(import.meta.url)) {
  runMain(async (args) => {
    if (args.some((arg) => arg !== "--link")) {
      throw new SetupError(`found "${args.join(" ")}", expected --link or nothing`, 2);
    }
    if (args.length) unmakePackage();
    else await makePackage();
  });
}
