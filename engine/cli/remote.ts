/** Runs a command on a remote worker: its options, the connection, and words about such a run. */
import process from "node:process";
import { WORKER } from "../../cuda-bridge/client/params.ts";
import type { RemoteFace, RemoteOptions, RemoteReport, RemoteRun } from "../../cuda-bridge/client/types.ts";
import { Cluster } from "../cluster/cluster.ts";
import type { ClusterFace, ClusterOptions, Report } from "../cluster/types.ts";
import type { Elsewhere } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import { optionLines } from "./help.ts";
import { type Io, readInput } from "./io.ts";

/** The worker's address and token. */
export interface RemoteWorker {
  readonly url: string;
  readonly token: string;
}

/** The options, for parseOptions. */
export const REMOTE_OPTIONS = {
  remote: { type: "string" },
  token: { type: "string" },
  "token-file": { type: "string" },
} as const;

/** The options' lines in a command's help. */
export const REMOTE_HELP = optionLines(
  [
    "--remote ws://H:P",
    "run on the native worker at this address (python -m ringside_worker); wss:// with a certificate",
  ],
  ["--token-file F", "file with the worker's token; or set RINGSIDE_TOKEN in the environment"],
  ["--token T", "the token itself, which others on this machine can then see"],
);

/**
 * The worker, or undefined for ranks on this machine. `others` are options about ranks on this machine, which exclude
 * --remote. Errors: InputError.
 */
export async function remoteOption(
  o: { readonly remote?: string; readonly token?: string; readonly "token-file"?: string },
  others: Readonly<Record<string, unknown>>,
): Promise<RemoteWorker | undefined> {
  const { remote: url, token, "token-file": file } = o;
  if (url === undefined) {
    const alone = token !== undefined ? "--token" : file !== undefined ? "--token-file" : undefined;
    if (alone !== undefined) {
      throw new InputError(
        `${alone}: found without --remote, expected the worker's address too: --remote ws://127.0.0.1:8787`,
      );
    }
    return undefined;
  }
  for (const [name, value] of Object.entries(others)) {
    if (value !== undefined) {
      throw new InputError(
        `${name}: found beside --remote, expected only one of them: ${name} is about ranks on this machine`,
      );
    }
  }
  if (token !== undefined && file !== undefined) {
    throw new InputError("--token: found beside --token-file, expected one of them");
  }
  const found = token ??
    (file === undefined
      ? process.env.RINGSIDE_TOKEN
      : new TextDecoder().decode(await readInput("--token-file", file)).trim());
  if (found === undefined) {
    throw new InputError(
      "--remote: found no token, expected --token-file FILE, RINGSIDE_TOKEN in the environment, or --token: " +
        "the worker prints its token when it starts",
    );
  }
  return { url, token: found };
}

/** Connects to a worker. Errors: InputError, RemoteError; AbortError at Ctrl-C. */
export async function connect(
  { platform, signal }: Io,
  { url, token }: RemoteWorker,
  options: Pick<RemoteOptions, "ranks" | "link"> = {},
): Promise<RemoteFace> {
  const { Remote } = platform.runtime === "deno"
    ? await import("../../cuda-bridge/client/deno.ts")
    : await import("../../cuda-bridge/client/node.ts");
  return await Remote.connect(url, { token, ...options, signal });
}

/** Starts ranks on this machine, or connects to the worker that replaces them. */
export async function startCluster(
  io: Io,
  worker: RemoteWorker | undefined,
  options: ClusterOptions,
): Promise<ClusterFace> {
  const { ranks, link } = options;
  return worker === undefined
    ? await Cluster.start(io.platform, { ...options, signal: io.signal })
    : await connect(io, worker, { ranks, link });
}

/** The worker's limits, for validation. Undefined for ranks on this machine. */
export function elsewhere(worker: RemoteWorker | undefined): Elsewhere | undefined {
  return worker && WORKER;
}

/** The facts that only a run on a worker has. */
export function remoteRunOf(report: Report): RemoteRun | undefined {
  return report.backend === "remote" ? (report as RemoteReport).remote : undefined;
}

/** A remote run as lines for people. */
export function describeRemote({ address, facts, simulated, value }: RemoteRun): string[] {
  const notes = Array.isArray(value.notes) ? value.notes.filter((note) => typeof note === "string") : [];
  return [
    `worker:  ${address}: ${facts.processes} ${facts.processes === 1 ? "process" : "processes"}${
      facts.hosts > 1 ? ` on ${facts.hosts} hosts` : ""
    } (${facts.backend}), torch ${facts.torch}${facts.driver === undefined ? "" : `, driver ${facts.driver}`}${
      simulated ? "; ranks simulated" : ""
    }`,
    ...notes.map((note) => `note:    ${note}`),
  ];
}
