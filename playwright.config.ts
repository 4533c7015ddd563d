// End-to-end tests of the built page, in the Chromium that the set-up finds (an installed one, else the one from npm)
// with its software WebGPU adapter.
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";
import { defineConfig } from "@playwright/test";
import { CHROMIUM_ARGS, findChromium } from "./engine/cli/setup/chromium.mjs";

// Playwright reads this file again in each worker process: the browser found first is handed on.
const browser = JSON.parse(process.env.RINGSIDE_E2E_BROWSER ?? "null") ?? await findChromium({ webgpu: true });
if (!process.env.RINGSIDE_E2E_BROWSER) {
  console.log(`Chromium: ${browser.version} from ${browser.source}, adapter ${browser.name}`);
  process.env.RINGSIDE_E2E_BROWSER = JSON.stringify(browser);
}
process.env.RINGSIDE_E2E_PORT ??= String(await freePort());
const port = process.env.RINGSIDE_E2E_PORT;
const url = `http://127.0.0.1:${port}/`;

/** A loopback port that nothing listens on now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export default defineConfig({
  testDir: "test/e2e",
  // One at a time: a run has up to eight ranks, and on a software adapter every rank wants a core.
  workers: 1,
  retries: 0,
  timeout: 60_000,
  forbidOnly: !!process.env.CI,
  reporter: "list",
  use: {
    baseURL: url,
    browserName: "chromium",
    headless: true,
    screenshot: "only-on-failure",
    launchOptions: { executablePath: browser.path, env: browser.env, args: CHROMIUM_ARGS },
  },
  webServer: {
    command: `node engine/cli/setup/page.mjs --port ${port}`,
    url,
    reuseExistingServer: false,
    timeout: 120_000,
    stdout: "ignore",
    stderr: "pipe",
  },
});
