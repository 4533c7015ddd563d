/** Ringside in Deno. */
import type { Platform } from "./cluster/platform.ts";
import { startOn, verifyOn } from "./cluster/start.ts";
import { readShaders } from "./gpu/shaders.ts";
import { SILENCE, webWorker } from "./cluster/web-worker.ts";
export * from "./index.ts";

/** This runtime. */
export const platform: Platform = {
  runtime: "deno",
  silence: SILENCE, // lavapipe compiles within a first dispatch, which Deno awaits on the worker's thread
  startWorker: () => webWorker(new Worker(new URL("./rank/worker-web.ts", import.meta.url), { type: "module" })),
  shaders: () => readShaders(async (url) => await (await fetch(url)).text()),
  threadGpu: () => Promise.resolve({ gpu: navigator.gpu, blockingCompile: false }),
  bridge: () => import("../cuda-bridge/client/deno.ts"),
};

/** Ring attention on Deno's module workers. */
export const Cluster = { start: startOn(platform) };

/** Computes sampled rows of a seeded run again, and compares. */
export const verifyRows = verifyOn(platform);
