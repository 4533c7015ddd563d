// How long the page's main thread was held up while eight ranks ran: `node test/responsiveness.mjs`, after `npm start`
// or `npm test` has installed what is missing.
//
// Prints every task of at least 50 ms that the browser reports (PerformanceObserver, "longtask") from Run to the
// verdict,. Exits with 1 where one took more than 100 ms.
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { chromium } from "@playwright/test";
import { build, preview } from "vite";
import { describe } from "../engine/cli/setup/adapter.mjs";
import { CHROMIUM_ARGS, findChromium } from "../engine/cli/setup/chromium.mjs";
import { root } from "../engine/cli/setup/common.mjs";

/** The longest task allowed, in milliseconds. */
const LONGEST = 100;
/** Eight ranks: many messages, and tensors of 64 MiB (Q) and 8 MiB (K, V). */
const RUNS = [
  {
    name: "8 ranks, 8 MiB of Q, pass-Q",
    address: "?seed=1&T=1024&P=0&H=16&Hkv=4&D=128&N=8&variant=pass-q&wire=bf16&link=off",
  },
  {
    name: "8 ranks, 8 MiB of Q, pass-KV",
    address: "?seed=1&T=1024&P=0&H=16&Hkv=4&D=128&N=8&variant=pass-kv&wire=bf16&link=off",
  },
  {
    name: "8 ranks, 64 MiB of Q, pass-Q",
    address: "?seed=1&T=1024&P=0&H=64&Hkv=8&D=256&N=8&variant=pass-q&wire=bf16&link=off",
  },
];

const outDir = mkdtempSync(path.join(os.tmpdir(), "ringside-page-"));
const config = { configFile: path.join(root, "vite.config.ts"), logLevel: "warn", build: { outDir } };
let server, browser;
let worst = 0;
try {
  await build(config);
  server = await preview({ ...config, preview: { host: "127.0.0.1", port: 4274, open: false } });
  const found = await findChromium({ webgpu: true });
  console.log(describe(found));
  browser = await chromium.launch({ executablePath: found.path, env: found.env, args: CHROMIUM_ARGS, headless: true });
  for (
    const { name, address } of RUNS.filter((_, i) =>
      process.argv.length < 3 || process.argv.slice(2).includes(String(i))
    )
  ) {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.goto(`http://127.0.0.1:${server.httpServer.address().port}/${address}`);
    await page.evaluate(() => {
      globalThis.longTasks = [];
      new PerformanceObserver((list) =>
        list.getEntries().forEach(({ startTime, duration }) => {
          const status = document.querySelector("ringside-app").shadowRoot.querySelector("[role=status]").textContent;
          globalThis.longTasks.push({ at: startTime, ms: duration, status });
        })
      ).observe({ type: "longtask" });
    });
    const began = await page.evaluate(() => performance.now());
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("heading", { name: /^(Passed|Failed)/ }).waitFor({ timeout: 300_000 });
    // The run is then played back on the stage.
    await page.waitForTimeout(3000);
    const tasks = await page.evaluate(() => globalThis.longTasks);
    const longest = Math.max(0, ...tasks.map(({ ms }) => ms));
    worst = Math.max(worst, longest);
    console.log(
      `${name}: ${tasks.length} tasks of 50 ms or more in ${
        ((await page.evaluate(() => performance.now()) - began) / 1000).toFixed(1)
      } s, the longest ${longest.toFixed(0)} ms`,
    );
    for (const { at, ms, status } of tasks) {
      console.log(`  ${((at - began) / 1000).toFixed(2)} s: ${ms.toFixed(0)} ms (${status || "before the run"})`);
    }
    await page.close();
  }
} finally {
  await browser?.close();
  await new Promise((resolve) => (server === undefined ? resolve() : server.httpServer.close(resolve)));
  rmSync(outDir, { recursive: true, force: true });
}
process.exit(worst > LONGEST ? 1 : 0);
