/** Ringside in Node. */
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { Cluster as AnyCluster } from "./cluster/cluster.ts";
import type { Platform } from "./cluster/platform.ts";
import type { ClusterFace, ClusterOptions } from "./cluster/types.ts";
import { readShaders } from "./gpu/shaders.ts";
export * from "./index.ts";

/** This runtime. */
export const platform: Platform = {
  runtime: "node",
  startWorker() {
    const worker = new Worker(new URL("./rank/worker-node.js", import.meta.url), { execArgv: [] });
    return {
      endpoint: nodeEndpoint(worker),
      onDeath(listener) {
        worker.on("error", (error: Error) => listener(`its worker broke: ${error.message}`));
        worker.on("exit", (code) => listener(`its worker ended (status ${code})`));
      },
      terminate: () => void worker.terminate(),
    };
  },
  shaders: () => readShaders((url) => readFile(url, "utf8")),
};

/** Ring attention on worker threads, with Dawn as their WebGPU. */
export const Cluster = {
  start: (options: ClusterOptions): Promise<ClusterFace> => AnyCluster.start(platform, options),
};
