/** Ringside in a browser. */
import type { Platform } from "./cluster/platform.ts";
import { startOn, verifyOn } from "./cluster/start.ts";
import { readShaders } from "./gpu/shaders.ts";
import { SILENCE, webWorker } from "./cluster/web-worker.ts";
export * from "./index.ts";

/** This runtime. */
export const platform: Platform = {
  runtime: "browser",
  silence: SILENCE,
  startWorker: () => webWorker(new Worker(new URL("./rank/worker-web.ts", import.meta.url), { type: "module" })),
  shaders: () => readShaders(async (url) => await (await fetch(url)).text()),
  threadGpu: () => Promise.resolve({ gpu: navigator.gpu, blockingCompile: false }),
  bridge: () => import("../cuda-bridge/client/browser.ts"),
};

/** Ring attention on Web Workers. */
export const Cluster = { start: startOn(platform) };

/** Computes sampled rows of a seeded run again, and compares. */
export const verifyRows = verifyOn(platform);
