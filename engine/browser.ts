/** Ringside in a browser. */
import { Cluster as AnyCluster } from "./cluster/cluster.ts";
import type { Platform } from "./cluster/platform.ts";
import type { ClusterFace, ClusterOptions } from "./cluster/types.ts";
import { readShaders } from "./gpu/shaders.ts";
import { webWorker } from "./cluster/web-worker.ts";
export * from "./index.ts";

const platform: Platform = {
  runtime: "browser",
  compileSeconds: 0,
  startWorker: () => webWorker(new Worker(new URL("./rank/worker-web.ts", import.meta.url), { type: "module" })),
  shaders: () => readShaders(async (url) => await (await fetch(url)).text()),
};

/** Ring attention on Web Workers. */
export const Cluster = {
  start: (options: ClusterOptions): Promise<ClusterFace> => AnyCluster.start(platform, options),
};
