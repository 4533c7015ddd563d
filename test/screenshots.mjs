// Makes the pictures of the README from the real page: `node test/screenshots.mjs`, after `npm start` or `npm test` has
// installed and built what is missing.
//
// The page is built into a folder of its own, opened in the Chromium that the set-up finds, and photographed after a
// run that passed its check.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { chromium } from "@playwright/test";
import { build, preview } from "vite";
import { CHROMIUM_ARGS, describe, findChromium } from "../engine/cli/setup/adapter.mjs";
import { root } from "../engine/cli/setup/common.mjs";

/** The most bytes of a picture. */
const LARGEST = 200_000;
/**
 * A run whose transfers take about as long as its attention, so that the timeline shows both overlap and exposed waits.
 */
const PICTURES = [
  {
    file: "docs/lab.png",
    scheme: "light",
    address: "?seed=1&T=512&P=512&H=8&Hkv=2&D=64&N=4&variant=pass-kv&wire=bf16&link=3e6,0.001&hop=1",
  },
];

const outDir = mkdtempSync(path.join(os.tmpdir(), "ringside-page-"));
const config = { configFile: path.join(root, "vite.config.ts"), logLevel: "warn", build: { outDir } };
let server, browser;
try {
  await build(config);
  server = await preview({ ...config, preview: { host: "127.0.0.1", port: 4273, open: false } });
  const found = await findChromium({ webgpu: true });
  console.log(describe(found));
  browser = await chromium.launch({ executablePath: found.path, env: found.env, args: CHROMIUM_ARGS, headless: true });
  for (const { file, scheme, address } of PICTURES) {
    const page = await browser.newPage({ viewport: { width: 1200, height: 1000 }, colorScheme: scheme });
    await page.goto(`http://127.0.0.1:${server.httpServer.address().port}/${address}`);
    // Twice: the second run's pipelines are compiled.
    for (let run = 0; run < 2; run++) {
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByRole("button", { name: "Cancel" }).waitFor();
      await page.getByRole("button", { name: "Run", exact: true }).waitFor({ timeout: 120_000 });
      await page.getByRole("heading", { name: "Passed: O and LSE agree with float64" }).waitFor({ timeout: 5_000 });
    }
    await page.mouse.move(0, 0);
    const to = path.join(root, file);
    await page.screenshot({ path: to, animations: "disabled" });
    const { size } = statSync(to);
    console.log(`${file}: ${size} bytes`);
    if (size > LARGEST) throw new Error(`${file}: found ${size} bytes, expected at most ${LARGEST}`);
    await page.close();
  }
} finally {
  await browser?.close();
  await new Promise((resolve) => (server === undefined ? resolve() : server.httpServer.close(resolve)));
  rmSync(outDir, { recursive: true, force: true });
}
process.exit(0);
