/** The bridge's client in Deno. */
import { bridgeOn } from "./bridge.ts";
import type { Bridge } from "./types.ts";
import { webHelper } from "./web-helper.ts";
export * from "./index.ts";

const bridge: Bridge = bridgeOn({
  runtime: "deno",
  processors: navigator.hardwareConcurrency,
  webSocket: () => Promise.resolve(WebSocket),
  read: async (url) => await (await fetch(url)).text(),
  startHelper: () => webHelper(new Worker(new URL("./verify-thread-web.ts", import.meta.url), { type: "module" })),
  engine: async () => (await import("../../engine/deno.ts")).platform,
});

export const connect = bridge.connect, verifyRows = bridge.verifyRows, startRemote = bridge.startRemote;
