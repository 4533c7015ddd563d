// Builds the page with Vite and serves it on a loopback address. Playwright runs this file (`node page.mjs --port
// 4173`), which does both.
import { existsSync } from "node:fs";
import path from "node:path";
import { endOnSignal, isMain, root, runMain, SetupError, since } from "./common.mjs";

const HOST = "127.0.0.1";
const FIRST_PORT = 5173;
const config = { configFile: path.join(root, "vite.config.ts"), logLevel: "warn" };

/** Does this tree have the page's sources? */
export const pageExists = () => existsSync(path.join(root, "web", "index.html")) && existsSync(config.configFile);

/** Builds the page into the folder that vite.config.ts names. */
export async function buildPage() {
  if (!pageExists()) throw new SetupError("the page cannot be built: web/index.html or vite.config.ts is missing");
  const start = performance.now();
  const { build } = await import("vite");
  await build(config);
  console.log(`page     built in ${since(start)}`);
}

/**
 * Serves the built page.
 * @param {{port?: number}} [options] port: this port or an error; without it, 5173 or the next free one
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export async function servePage({ port } = {}) {
  const { preview } = await import("vite");
  try {
    const server = await preview({
      ...config,
      preview: { host: HOST, port: port ?? FIRST_PORT, strictPort: port !== undefined, open: false },
    });
    // Without strictPort, Vite may have taken a later port.
    const address = server.httpServer.address();
    return { url: `http://${HOST}:${address.port}/`, close: () => server.close() };
  } catch (error) {
    if (/port .*in use/i.test(error.message)) {
      throw new SetupError(`--port: ${port} is in use; name another one, or leave --port out to use a free one`);
    }
    throw error;
  }
}

/** Reads the port number of --port. */
export function readPort(text) {
  if (!/^\d{1,5}$/.test(text ?? "") || Number(text) < 1 || Number(text) > 65535) {
    throw new SetupError(`--port: found "${text ?? ""}", expected a number from 1 to 65535`, 2);
  }
  return Number(text);
}

if (isMain(import.meta.url)) {
  runMain(async (args) => {
    if (args.length && (args.length !== 2 || args[0] !== "--port")) {
      throw new SetupError(`found "${args.join(" ")}", expected --port N or nothing`, 2);
    }
    const port = args.length ? readPort(args[1]) : undefined;
    await buildPage();
    const { url, close } = await servePage({ port });
    endOnSignal(close, () => 0);
    console.log(`page     ${url}`);
  });
}
