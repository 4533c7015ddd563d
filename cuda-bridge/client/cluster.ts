/** A worker in the place of a cluster: the same face, the ranks elsewhere. */
import { InputError } from "../../engine/errors.ts";
import type { AdapterFacts, AttendInput, ClusterOptions, SessionOptions } from "../../engine/cluster/types.ts";
import type { ClientPlatform } from "./platform.ts";
import { connect } from "./remote.ts";
import { adapterOf } from "./report.ts";
import type { Remote, RemoteClusterFace, RemoteReport } from "./types.ts";

/** Reaches the worker of `options.remote`. Errors: InputError for what a worker cannot honour; as connect's. */
export async function startRemote(platform: ClientPlatform, options: ClusterOptions): Promise<RemoteClusterFace> {
  const { remote, ranks, link, signal, ...rest } = options;
  if (remote === undefined) throw new InputError("remote: not given, expected the worker's url and token");
  const here = (["backend", "shaders", "fault", "timeout"] as const).find((name) => rest[name] !== undefined);
  if (here !== undefined) {
    throw new InputError(
      `${here}: found beside remote, expected one or the other: ranks on a worker take no ${here} from here`,
    );
  }
  if (!Number.isSafeInteger(ranks) || ranks < 1) {
    throw new InputError(`ranks: found ${ranks}, expected a whole number of at least 1`);
  }
  return new RemoteCluster(await connect(platform, { ...remote, signal: remote.signal ?? signal }), ranks, link);
}

class RemoteCluster implements RemoteClusterFace {
  readonly size: number;
  readonly remote: Remote;
  readonly #link: ClusterOptions["link"];

  constructor(remote: Remote, size: number, link: ClusterOptions["link"]) {
    this.remote = remote;
    this.size = size;
    this.#link = link;
  }

  get adapter(): AdapterFacts {
    return adapterOf(this.remote.facts);
  }

  async attend(input: AttendInput): Promise<Awaited<ReturnType<Remote["attend"]>> & { readonly report: RemoteReport }> {
    return await this.remote.attend({ ...input, ranks: this.size, link: this.#link });
  }

  async session(options: SessionOptions) {
    return await this.remote.session({ ...options, ranks: this.size, link: this.#link });
  }

  repair(): Promise<number[]> {
    return Promise.reject(
      new InputError(
        "repair: found ranks on a remote worker, expected ranks here: a worker that lost a rank is started again where it runs",
      ),
    );
  }

  async dispose(): Promise<void> {
    await this.remote.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
