/** The bridge's client in a browser. */
import type { ClientPlatform } from "./platform.ts";
import { connect } from "./remote.ts";
import type { RemoteFace, RemoteOptions } from "./types.ts";
export * from "./index.ts";

const platform: ClientPlatform = {
  runtime: "browser",
  webSocket: () => Promise.resolve(WebSocket),
  read: async (url) => await (await fetch(url)).text(),
};

/** Ring attention on a native worker. */
export const Remote = {
  /** Reaches a worker at `ws://host:port`. Errors: InputError for bad options; RemoteError; the signal's reason. */
  connect: (url: string, options: RemoteOptions): Promise<RemoteFace> => connect(platform, url, options),
};

/** A connection to a worker. */
export type Remote = RemoteFace;
