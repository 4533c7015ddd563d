// Starts a Chromium (its path is the first argument) under Playwright and asks a page in it for a WebGPU adapter and
// device. Prints the adapter as one line of JSON, or null.
import { createServer } from "node:http";
import process from "node:process";
import { chromium } from "@playwright/test";
import { CHROMIUM_ARGS } from "./chromium.mjs";

// WebGPU needs a secure context. A loopback address is one; about:blank is not.
const server = createServer((_request, response) =>
  response.setHeader("content-type", "text/html").end("<!doctype html><title>probe</title>")
);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath: process.argv[2], args: CHROMIUM_ARGS, env: process.env });
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const found = await page.evaluate(async () => {
    const adapter = await globalThis.navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    (await adapter.requestDevice()).destroy();
    const { vendor, architecture, description } = adapter.info;
    const features = [...adapter.features].filter((name) =>
      ["shader-f16", "subgroups", "timestamp-query"].includes(name)
    ).sort();
    return { name: description || `${vendor} ${architecture}`, software: architecture === "swiftshader", features };
  });
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
  server.close();
}
