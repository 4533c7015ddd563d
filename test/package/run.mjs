/**
 * The installed package at work in Node, Deno, Bun and a page that Vite built. Everywhere the same program gives numbers
 * that are known.
 */
import { chromium } from "@playwright/test";
import assert from "node:assert/strict";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { preview } from "vite";
import { CHROMIUM_ARGS, findChromium } from "../../engine/cli/setup/chromium.mjs";
import { denoPath } from "../../engine/cli/setup/common.mjs";
import { compiled, COMPILERS } from "./compiled.mjs";
import { bunPath, command, lend, manifest, project, root } from "./project.mjs";

/** What program.ts finds: elements of O and LSE, computed apart from Ringside in float64, with NumPy. */
const OUT = [0.00137427902790198, -0.06104485922432669, 0.08721845565319981];
const LSE = [6.762350447069332, 7.552414462709967];
const DECODED = 6.385119331347972;

function expectFound(text, runtime, backend) {
  const found = JSON.parse(text.trim().split("\n").at(-1));
  const near = (numbers, known, tolerance) =>
    known.forEach((value, i) => assert.ok(Math.abs(numbers[i] - value) < tolerance, `${numbers[i]} is not ${value}`));
  assert.equal(found.runtime, runtime);
  assert.equal(found.passed, true);
  assert.ok(found.furthest < 1e-5, `found ${found.furthest}`);
  near(found.out, OUT, 1e-5);
  near(found.lse, LSE, 1e-5);
  assert.equal(found.adapter === "none: plain TypeScript on the CPU", backend === "cpu", found.adapter);
  assert.deepEqual(found.tokens, [101, 101]);
  near([found.decoded], [DECODED], 1e-5);
  assert.ok(found.milliseconds > 100 && found.milliseconds < 1e5, `found ${found.milliseconds} ms`);
  assert.deepEqual([found.choice, found.remote, found.refused], ["pass-q", "unreachable", "InputError"]);
  assert.deepEqual(found.keys, [256, 256]);
}

for (const compiler of COMPILERS) {
  test(`Node runs what ${compiler} compiled`, async () => {
    const { out } = await command(process.execPath, [await compiled(compiler)]);
    expectFound(out, "node", "cpu");
  });
}

test("Node without the package webgpu says how to get it", async () => {
  const { err } = await command(process.execPath, [await compiled(), "webgpu"], { expect: 1 });
  assert.match(err, /NoAdapterError: .*npm install webgpu/);
});

test("Deno", async () => {
  const { out } = await command(denoPath(), ["run", "--allow-all", await compiled()], { cwd: await project() });
  expectFound(out, "deno", "cpu");
});

test("Bun", async () => {
  const { out } = await command(bunPath(), [await compiled()]);
  expectFound(out, "node", "cpu");
});

test("a page that Vite built, on the CPU and on WebGPU", async () => {
  const folder = await project();
  const vite = path.join(root, "node_modules", "vite", "bin", "vite.js");
  await command(process.execPath, [vite, "build", folder, "--outDir", "site"], { cwd: folder });
  const server = await preview({ root: folder, build: { outDir: "site" }, preview: { host: "127.0.0.1", port: 4300 } });
  const { path: executablePath, env } = await findChromium({ webgpu: true });
  const browser = await chromium.launch({ executablePath, env, args: CHROMIUM_ARGS });
  try {
    for (const backend of ["cpu", "webgpu"]) {
      const page = await browser.newPage();
      page.on("pageerror", (error) => console.error(error));
      await page.goto(`${server.resolvedUrls.local[0]}?${backend}`);
      const shown = page.locator("output:not(:empty)");
      await shown.waitFor({ timeout: 120_000 });
      expectFound(await shown.textContent(), "browser", backend);
    }
  } finally {
    await browser.close();
    await server.close();
  }
});

test("the command of an installed package, in Node and in Deno", async () => {
  const folder = await project();
  const bin = (name, ...args) => command(path.join(folder, "node_modules", ".bin", name), args, { cwd: folder });
  for (const name of Object.keys(manifest.bin)) {
    assert.equal((await bin(name, "--version")).out, `ringside ${manifest.version}\n`);
  }
  const { out, err } = await bin("ringside", "selftest", "--backend", "cpu");
  assert.match(out, /passed/);
  assert.doesNotMatch(err, /build/);
  lend(folder, "@deno");
  const plan = ["plan", "--model", "llama3-405b", "--cluster", "gtt", "--cp", "4", "--new", "128000"];
  assert.equal((await bin("ringside", ...plan, "--runtime", "deno")).out, (await bin("ringside", ...plan)).out);
});

test("Node on the WebGPU adapter that the package finds", async () => {
  const folder = await project();
  lend(folder, "webgpu");
  lend(folder, "@sparticuz");
  const env = { ...process.env, XDG_CACHE_HOME: path.join(folder, "cache") };
  for (const name of ["RINGSIDE_ADAPTER", "VK_ICD_FILENAMES", "VK_DRIVER_FILES"]) delete env[name];
  const start = path.join(path.dirname(await compiled()), "start.js");
  const { out } = await command(process.execPath, [start], { env });
  expectFound(out, "node", "webgpu");
});
