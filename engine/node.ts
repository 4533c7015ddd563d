/** Ringside in Node. */
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import type { Platform } from "./cluster/platform.ts";
import { startOn, verifyOn } from "./cluster/start.ts";
import { readShaders } from "./gpu/shaders.ts";
import { doze } from "./rank/doze.ts";
export * from "./index.ts";

/** This runtime. */
export const platform: Platform = {
  runtime: "node",
  silence: 120, // kernels compile on the workers' threads (see Kernels)
  startWorker() {
    const worker = new Worker(new URL("./rank/worker-node.js", import.meta.url), { execArgv: [] });
    const endpoint = nodeEndpoint(worker);
    return {
      endpoint: {
        ...endpoint,
        // Listening keeps the process alive; a cluster is to do so only while it works (see Ranks).
        addEventListener(...given) {
          endpoint.addEventListener(...given);
          worker.unref();
        },
      },
      onDeath(listener) {
        worker.on("error", (error: Error) => listener(`its worker broke: ${error.message}`));
        worker.on("exit", (code) => listener(`its worker ended (status ${code})`));
      },
      terminate: async () => void (await worker.terminate()),
      giveUp() {}, // ended by force in the middle of Dawn's work, it would take the process down
    };
  },
  shaders: () => readShaders((url) => readFile(url, "utf8")),
  threadGpu: async () => ({ gpu: (await import("./rank/dawn.ts")).openDawn(), wait: doze, blockingCompile: true }),
  bridge: () => import("../cuda-bridge/client/node.ts"),
};

/** Ring attention on worker threads, with Dawn as their WebGPU. */
export const Cluster = { start: startOn(platform) };

/** Computes sampled rows of a seeded run again, and compares. */
export const verifyRows = verifyOn(platform);
