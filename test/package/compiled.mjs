/** Compiles a user's strict program against the declarations, and these too: skipLibCheck is off. */
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { command, lend, project, root } from "./project.mjs";

/** "typescript" (7) or "typescript-5", as node_modules has them. */
export const COMPILERS = ["typescript-5", "typescript"];

const STRICT = {
  strict: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  verbatimModuleSyntax: true,
  target: "es2022",
};

/** A program in Node, without a browser's types. */
const NODE = {
  compilerOptions: {
    ...STRICT,
    module: "nodenext",
    lib: ["es2023", "esnext.disposable"],
    types: ["node"],
  },
  files: ["main.ts", "start.ts"],
};

/** A page for a bundler, without Node's types. (@types/node 20 does not bear exactOptionalPropertyTypes.) */
const PAGE = {
  compilerOptions: {
    ...STRICT,
    exactOptionalPropertyTypes: true,
    module: "esnext",
    moduleResolution: "bundler",
    lib: ["es2022", "esnext.disposable", "dom"],
    types: [],
    noEmit: true,
  },
  files: ["page.ts"],
};

async function compile(compiler, where, config) {
  const folder = await project();
  lend(folder, "@types/node");
  const outDir = path.join(folder, `${where}-${compiler}`);
  const file = path.join(folder, `tsconfig.${where}-${compiler}.json`);
  if (existsSync(file)) return outDir;
  writeFileSync(file, JSON.stringify({ ...config, compilerOptions: { ...config.compilerOptions, outDir } }));
  await command(process.execPath, [path.join(root, "node_modules", compiler, "bin", "tsc"), "-p", file], {
    cwd: folder,
  });
  return outDir;
}

/** app/main.ts as JavaScript: the program that a user runs in Node, Deno or Bun. */
export const compiled = async (compiler = "typescript") => path.join(await compile(compiler, "node", NODE), "main.js");

/** Checks app/page.ts; Vite compiles it. */
export const checkPage = (compiler) => compile(compiler, "page", PAGE);
