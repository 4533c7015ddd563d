/** The bridge's client in Node, whose oldest supported version has no WebSocket: it uses `ws`. */
import { readFile } from "node:fs/promises";
import type { ClientPlatform } from "./platform.ts";
import { connect } from "./remote.ts";
import type { RemoteFace, RemoteOptions } from "./types.ts";
export * from "./index.ts";

const platform: ClientPlatform = {
  runtime: "node",
  webSocket: async () => (await import("ws")).WebSocket as unknown as typeof WebSocket,
  read: (url) => readFile(url, "utf8"),
};

/** Ring attention on a native worker. */
export const Remote = {
  /** Reaches a worker at `ws://host:port`. Errors: InputError for bad options; RemoteError; the signal's reason. */
  connect: (url: string, options: RemoteOptions): Promise<RemoteFace> => connect(platform, url, options),
};

/** A connection to a worker. */
export type Remote = RemoteFace;
