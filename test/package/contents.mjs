/** What the tarball holds, and what publint and are-the-types-wrong say of it. */
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { manifest, project, root, tarball } from "./project.mjs";

const json = (file) => JSON.parse(readFileSync(path.join(root, file), "utf8"));

test("the tarball has what a user needs and nothing else", async () => {
  const { files, size } = await tarball();
  const names = files.map((file) => file.path);
  for (
    const wanted of [
      "LICENSE",
      "README.md",
      "package.json",
      "engine/cli/ringside.mjs",
      "engine/cli/help.txt",
      ...readdirSync(path.join(root, "shaders")).map((name) => `pkg/shaders/${name}`),
      "pkg/cuda-bridge/protocol/messages.schema.json",
      "pkg/engine/cli/main.js",
    ]
  ) assert.ok(names.includes(wanted), `${wanted} is not in the tarball`);
  const allowed = [
    /^(LICENSE|README\.md|package\.json)$/,
    /^engine\/cli\/(ringside\.mjs|help\.txt|setup\/[a-z-]+\.(mjs|d\.mts))$/,
    /^pkg\/(engine|cuda-bridge\/client)\/[\w/.-]+\.(js|d\.ts)$/,
    /^pkg\/shaders\/[a-z0-9-]+\.wgsl$/,
    /^pkg\/cuda-bridge\/protocol\/messages\.schema\.json$/,
  ];
  assert.deepEqual(names.filter((name) => !allowed.some((pattern) => pattern.test(name))), []);
  // 290 kB when this was written: a picture, a trace or a second copy of the code would show.
  assert.ok(size < 400_000, `found ${size} bytes, expected fewer than 400,000`);
});

test("every export and every command leads to a file", async () => {
  const folder = path.join(await project(), "node_modules", manifest.name);
  const leaves = (entry) => typeof entry === "string" ? [entry] : Object.values(entry).flatMap(leaves);
  const all = [...leaves(manifest.exports), ...Object.values(manifest.bin)];
  assert.ok(all.length > 15, `found ${all.length} files`);
  assert.deepEqual(all.filter((file) => !existsSync(path.join(folder, file))), []);
  assert.equal(typeof manifest.exports["."].default, "string");
});

test("publint finds nothing to complain of", async () => {
  const folder = path.join(await project(), "node_modules", manifest.name);
  const { messages, pkg } = await publint({ pkgDir: folder, pack: false, strict: true, level: "warning" });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg)), []);
});

test("are-the-types-wrong finds no fault in any entry, for those that import ES modules", async () => {
  const data = new Uint8Array(readFileSync((await tarball()).file));
  const { types, problems } = await checkPackage(createPackageFromTarballData(data));
  assert.ok(types, "the package has no types");
  // The package is ES modules alone: neither CommonJS nor the resolution of Node 10 is for it.
  const foreign = ["node10", "node16-cjs"];
  const seen = problems.filter((problem) => !foreign.includes(problem.resolutionKind));
  assert.deepEqual(seen.map(({ kind, entrypoint, resolutionKind }) => [kind, entrypoint, resolutionKind]), []);
});

test("the name, the version and the dependencies are the same wherever they stand", async () => {
  const { PACKAGE } = await import(path.join(await project(), "node_modules", manifest.name, "pkg/engine/package.js"));
  const jsr = json("jsr.json");
  const lock = json("package-lock.json");
  assert.equal(PACKAGE, manifest.name);
  assert.deepEqual([lock.name, lock.packages[""].name], [manifest.name, manifest.name]);
  assert.deepEqual([jsr.version, lock.version], [manifest.version, manifest.version]);
  assert.match(
    readFileSync(path.join(root, "CITATION.cff"), "utf8"),
    new RegExp(`^version: ${manifest.version}$`, "m"),
  );
  assert.match(readFileSync(path.join(root, "CHANGELOG.md"), "utf8"), new RegExp(`^## \\[${manifest.version}\\]`, "m"));
  for (const [name, address] of Object.entries(jsr.imports)) {
    assert.equal(address, `npm:${name}@${manifest.dependencies[name]}`, `jsr.json, ${name}`);
  }
  // JSR has no conditions: there the browser's face is an entry. It takes no plain JavaScript with types beside it.
  const entries = ({ exports }, ...but) => Object.keys(exports).filter((name) => !but.includes(name)).sort();
  assert.deepEqual(entries(jsr, "./browser"), entries(manifest, "./package.json", "./adapters"));
});

test("versions are exact, and no file names a registry", () => {
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    assert.match(version, /^(npm:\w+@)?\d+\.\d+\.\d+$/, name);
  }
  const lock = json("package-lock.json");
  assert.deepEqual(Object.entries(lock.packages).filter(([, entry]) => "resolved" in entry).map(([name]) => name), []);
  for (const name of ["repository", "homepage", "bugs", "private"]) assert.ok(!(name in manifest), name);
  for (const name of readdirSync(path.join(root, ".github", "workflows"))) {
    const text = readFileSync(path.join(root, ".github", "workflows", name), "utf8");
    assert.doesNotMatch(text, /registry|https?:\/\/|index-url/, name);
  }
});
