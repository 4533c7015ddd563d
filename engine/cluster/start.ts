/** Starts ranks here, or reaches the worker that computes in their place. */
import type { RemoteClusterFace, RemoteOptions } from "../../cuda-bridge/client/types.ts";
import { InputError } from "../errors.ts";
import { Cluster } from "./cluster.ts";
import type { Platform } from "./platform.ts";
import type { ClusterFace, ClusterOptions } from "./types.ts";

/** `Cluster.start` of a platform. With `remote`, the face has the connection too. Errors: InputError, NoAdapterError, RemoteError, AbortError. */
export interface Start {
  (options: ClusterOptions & { readonly remote: RemoteOptions }): Promise<RemoteClusterFace>;
  (options: ClusterOptions): Promise<ClusterFace>;
}

/** The platform's. */
export function startOn(platform: Platform): Start {
  const start = async (options: ClusterOptions): Promise<ClusterFace> => {
    if (options.remote === undefined) return await Cluster.start(platform, options);
    if (platform.bridge === undefined) throw new InputError(`remote: found the runtime ${platform.runtime}, expected one with a client of remote workers`);
    return await (await platform.bridge()).startRemote(options);
  };
  return start as Start;
}
