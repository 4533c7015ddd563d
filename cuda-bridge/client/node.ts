/** The bridge's client in Node, whose oldest supported version has no WebSocket of its own: `ws` is used. */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { bridgeOn } from "./bridge.ts";
import type { Bridge } from "./types.ts";
export * from "./index.ts";

const bridge: Bridge = bridgeOn({
  runtime: "node",
  processors: availableParallelism(),
  webSocket: async () => (await import("ws")).WebSocket as unknown as typeof WebSocket,
  read: (url) => readFile(url, "utf8"),
  startHelper() {
    const worker = new Worker(new URL("./verify-thread-node.js", import.meta.url), { execArgv: [] });
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
  engine: async () => (await import("../../engine/node.ts")).platform,
});

export const connect = bridge.connect, verifyRows = bridge.verifyRows, startRemote = bridge.startRemote;
