// Makes the README's pictures from the real page: `node test/screenshots.mjs`, after `npm start` or `npm test` has
// installed and built what is missing.
//
// It builds the page into a temporary folder, opens it in the Chromium that the set-up finds, and runs an experiment
// that must pass its check. Then it takes a screenshot, docs/lab.png, and draws the run's spans as docs/lab.svg.
// `node test/screenshots.mjs --redraw` runs nothing: it draws docs/lab.svg again from the spans that it carries.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { chromium } from "@playwright/test";
import { build, preview } from "vite";
import { describe } from "../engine/cli/setup/adapter.mjs";
import { CHROMIUM_ARGS, findChromium } from "../engine/cli/setup/chromium.mjs";
import { root } from "../engine/cli/setup/common.mjs";
import { build as buildDist } from "../engine/cli/setup/build.mjs";

await buildDist();
const { movingPicture, recorded, recordedIn } = await import("../dist/test/picture/moving.js");

/** The most bytes of a picture. */
const LARGEST = { png: 200_000, svg: 150_000 };
/**
 * A run whose transfers take about as long as its attention, so that the timeline shows both overlap and exposed waits.
 */
const ADDRESS = "?seed=1&T=512&P=512&H=8&Hkv=2&D=64&N=4&variant=pass-kv&wire=bf16&link=3e6,0.001&hop=1";

/** Names a picture's size; throws if it is too large. */
function weigh(file, largest) {
  const { size } = statSync(path.join(root, file));
  console.log(`${file}: ${size} bytes`);
  if (size > largest) throw new Error(`${file}: found ${size} bytes, expected at most ${largest}`);
}

/** Draws a recorded run as docs/lab.svg. */
function draw(run) {
  const tokens = readFileSync(path.join(root, "web/styles/tokens.css"), "utf8");
  writeFileSync(path.join(root, "docs/lab.svg"), movingPicture(run, tokens));
  weigh("docs/lab.svg", LARGEST.svg);
}

if (process.argv[2] === "--redraw") {
  draw(recordedIn(readFileSync(path.join(root, "docs/lab.svg"), "utf8")));
  process.exit(0);
}
const outDir = mkdtempSync(path.join(os.tmpdir(), "ringside-page-"));
const config = { configFile: path.join(root, "vite.config.ts"), logLevel: "warn", build: { outDir } };
let server, browser;
try {
  await build(config);
  server = await preview({ ...config, preview: { host: "127.0.0.1", port: 4273, open: false } });
  const found = await findChromium({ webgpu: true });
  console.log(describe(found));
  browser = await chromium.launch({ executablePath: found.path, env: found.env, args: CHROMIUM_ARGS, headless: true });
  const page = await browser.newPage({ viewport: { width: 1200, height: 1000 }, colorScheme: "light" });
  await page.goto(`http://127.0.0.1:${server.httpServer.address().port}/${ADDRESS}`);
  // Twice: the second run's pipelines are compiled.
  for (let run = 0; run < 2; run++) {
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("button", { name: "Cancel" }).waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).waitFor({ timeout: 120_000 });
    await page.getByRole("heading", { name: "Passed: O and LSE agree with float64" }).waitFor({ timeout: 5_000 });
  }
  await page.mouse.move(0, 0);
  await page.screenshot({ path: path.join(root, "docs/lab.png"), animations: "disabled" });
  weigh("docs/lab.png", LARGEST.png);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Report as JSON" }).click(),
  ]);
  const report = JSON.parse(readFileSync(await download.path(), "utf8"));
  draw(recorded(report));
} finally {
  await browser?.close();
  await new Promise((resolve) => (server === undefined ? resolve() : server.httpServer.close(resolve)));
  rmSync(outDir, { recursive: true, force: true });
}
process.exit(0);
