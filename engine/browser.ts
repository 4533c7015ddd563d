/** Ringside in a browser. */
import { Cluster as RankCluster } from "./cluster/cluster.ts";
import type { ClusterFace, ClusterOptions } from "./cluster/types.ts";
import { SILENCE, webWorker } from "./cluster/web-worker.ts";
import { readShaders } from "./gpu/shaders.ts";
import type { Platform } from "./platform.ts";
import type { Verification, VerifyInput } from "./reference/verify/types.ts";
import { verifyRows as verify } from "./reference/verify/verify.ts";
import { webThread } from "./reference/verify/web-thread.ts";
export * from "./index.ts";

/**
 * This runtime.
 * @internal
 * @ignore
 */
export const platform: Platform = {
  runtime: "browser",
  silence: SILENCE,
  startWorker: () => webWorker(new Worker(new URL("./rank/worker-web.ts", import.meta.url), { type: "module" })),
  shaders: () => readShaders(async (url) => await (await fetch(url)).text()),
  threadGpu: () => Promise.resolve({ gpu: navigator.gpu, blockingCompile: false }),
  processors: navigator.hardwareConcurrency,
  startThread: () =>
    webThread(new Worker(new URL("./reference/verify/thread-web.ts", import.meta.url), { type: "module" })),
};

/** Ring attention on Web Workers. */
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
