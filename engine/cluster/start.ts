/** Starts ranks here, or reaches the worker that computes in their place. */
import type { Bridge, RemoteClusterFace, RemoteOptions } from "../../cuda-bridge/client/types.ts";
import { InputError } from "../errors.ts";
import { Cluster } from "./cluster.ts";
import type { Platform } from "./platform.ts";
import type { ClusterFace, ClusterOptions } from "./types.ts";

/**
 * `Cluster.start` of a platform. With `remote`, the face has the connection too. Errors: InputError, NoAdapterError,
 * RemoteError, AbortError.
 */
export interface Start {
  (options: ClusterOptions & { readonly remote: RemoteOptions }): Promise<RemoteClusterFace>;
  (options: ClusterOptions): Promise<ClusterFace>;
}

/** The platform's. */
export function startOn(platform: Platform): Start {
  const start = async (options: ClusterOptions): Promise<ClusterFace> =>
    options?.remote === undefined
      ? await Cluster.start(platform, options)
      : await (await bridgeOf(platform)).startRemote(options);
  return start as Start;
}

/** The platform's client of remote workers, loaded now. */
export async function bridgeOf(platform: Platform): Promise<Bridge> {
  if (platform.bridge === undefined) {
    throw new InputError(`remote: found the runtime ${platform.runtime}, expected one with a client of remote workers`);
  }
  return await platform.bridge();
}

/** `verifyRows` of the platform's client, which is loaded at its first use. */
export function verifyOn(platform: Platform): Bridge["verifyRows"] {
  return async (input) => await (await bridgeOf(platform)).verifyRows(input);
}
