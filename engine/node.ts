/** Ringside in Node. */
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Cluster as RankCluster } from "./cluster/cluster.ts";
import type { ClusterFace, ClusterOptions } from "./cluster/types.ts";
import { readShaders } from "./gpu/shaders.ts";
import type { Platform } from "./platform.ts";
import { doze } from "./rank/doze.ts";
import type { Verification, VerifyInput } from "./reference/verify/types.ts";
import { verifyRows as verify } from "./reference/verify/verify.ts";
export * from "./index.ts";

/**
 * This runtime.
 * @internal
 * @ignore
 */
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
  threadGpu: async () => ({
    gpu: await (await import("./rank/dawn.ts")).openDawn(),
    wait: doze,
    blockingCompile: true,
  }),
  processors: availableParallelism(),
  startThread() {
    const worker = new Worker(new URL("./reference/verify/thread-node.js", import.meta.url), { execArgv: [] });
    return {
      post: (message) => worker.postMessage(message),
      onMessage: (listener) => worker.on("message", listener),
      onDeath(listener) {
        worker.on("error", (error: Error) => listener(error.message));
        worker.on("exit", (code) => listener(`it ended (status ${code})`));
      },
      terminate: () => void worker.terminate(),
    };
  },
};

/** Ring attention on worker threads, with Dawn as their WebGPU. */
export const Cluster = {
  /** Starts the ranks. Errors: InputError; NoAdapterError if WebGPU has no adapter; RankError; AbortError. */
  start: (options: ClusterOptions): Promise<ClusterFace> => RankCluster.start(platform, options),
};

/** A running cluster. */
export type Cluster = ClusterFace;

/**
 * Computes rows of a seeded run again, in float64 or on this machine's GPU, and compares. Errors: InputError;
 * NoAdapterError; the signal's reason.
 */
export const verifyRows = (input: VerifyInput): Promise<Verification> => verify(platform, input);
