// Runs the page of `ringside bench --peers`: Vite bundles it, a loopback server serves it beside onnxruntime-web's
// files, a Chromium with an adapter runs it.
//
// It is a separate process, in Node whatever the benchmark's runtime. Its request is one JSON argument, its answer one
// JSON line.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { CHROMIUM_ARGS, findChromium } from "../cli/setup/chromium.mjs";
import { endOnSignal, root, runMain, SetupError } from "../cli/setup/common.mjs";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const page = path.join(root, "engine", "bench", "page");
const bundle = path.join(root, "node_modules", ".cache", "ringside", "bench");
const ort = path.join(root, "node_modules", "onnxruntime-web", "dist");
/** The bundle with the WebGPU execution provider alone; it loads its WebAssembly file from beside itself. */
const FILE = "ort.webgpu.min.mjs";

async function load(name) {
  try {
    return await import(name);
  } catch (error) {
    throw new SetupError(
      `--peers needs the development dependency ${name}: run \`npm ci\` in the project's folder (${
        error.code ?? error.message
      })`,
    );
  }
}

/** Serves the bundle at / and onnxruntime-web at /ort/, isolated, so that the page's clock is fine. */
function serve() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const [folder, name] = pathname.startsWith("/ort/")
      ? [ort, pathname.slice(5)]
      : [bundle, pathname.slice(1) || "index.html"];
    const file = path.join(folder, path.normalize(`/${name}`));
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      "content-type": TYPES[path.extname(file)] ?? "text/plain",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

runMain(async ([text]) => {
  const request = JSON.parse(text);
  if (!statSync(path.join(ort, FILE), { throwIfNoEntry: false })) {
    throw new SetupError(
      "--peers needs the development dependency onnxruntime-web: run `npm ci` in the project's folder",
    );
  }
  const [{ build }, { chromium }, found] = [
    await load("vite"),
    await load("@playwright/test"),
    await findChromium({ webgpu: true }),
  ];
  await build({
    configFile: false,
    root: page,
    base: "./",
    logLevel: "error",
    worker: { format: "es" },
    build: { outDir: bundle, emptyOutDir: true, target: "es2023", assetsInlineLimit: 0 },
  });
  const server = await serve();
  // A long dispatch on a software adapter must not look like a hang.
  const browser = await chromium.launch({
    executablePath: found.path,
    args: [...CHROMIUM_ARGS, "--disable-gpu-watchdog"],
    env: found.env,
  });
  endOnSignal(() => browser.close());
  try {
    const tab = await browser.newPage();
    tab.on("pageerror", (error) => console.error(error.message));
    const url = `http://127.0.0.1:${server.address().port}/`;
    await tab.goto(url);
    await tab.waitForFunction("globalThis.measurePeers !== undefined");
    const result = await tab.evaluate((given) => globalThis.measurePeers(given), {
      file: FILE,
      ...request,
      ort: `${url}ort/`,
    });
    console.log(JSON.stringify({ browser: found.version, source: found.source, ...result }));
    return 0;
  } finally {
    await browser.close();
    server.close();
  }
});
