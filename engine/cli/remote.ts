/** The options by which a command runs on a remote worker, and what is said of such a run. */
import process from "node:process";
import { WORKER } from "../../cuda-bridge/client/params.ts";
import type { Remote, RemoteOptions, RemoteReport, RemoteRun } from "../../cuda-bridge/client/types.ts";
import { Cluster } from "../cluster/cluster.ts";
import type { ClusterFace, ClusterOptions, Report } from "../cluster/types.ts";
import type { Elsewhere } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import type { Verification } from "../reference/verify/types.ts";
import { optionLines } from "./help.ts";
import { type Io, readInput } from "./io.ts";

/** Which worker, and its token. */
export interface RemoteWorker {
  readonly url: string;
  readonly token: string;
}

/** For parseOptions. */
export const REMOTE_OPTIONS = {
  remote: { type: "string" },
  token: { type: "string" },
  "token-file": { type: "string" },
} as const;

/** Their lines in a command's help. */
export const REMOTE_HELP = optionLines(
  [
    "--remote ws://H:P",
    "run on the native worker at this address (python -m ringside_worker); wss:// with a certificate",
  ],
  ["--token-file F", "file with the worker's token; or set RINGSIDE_TOKEN in the environment"],
  ["--token T", "the token itself, which others on this machine can then see"],
);

/**
 * Which worker, or undefined for ranks here. `others`: options that say something of ranks here, refused beside
 * --remote.
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
        `${name}: found beside --remote, expected one or the other: it is about ranks on this machine`,
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
      "--remote: found no token, expected --token-file FILE, RINGSIDE_TOKEN in the environment, or --token: the worker printed it when it started",
    );
  }
  return { url, token: found };
}

/** Reaches a worker. Errors: InputError, RemoteError; AbortError at Ctrl-C. */
export async function connect(
  { platform, signal }: Io,
  { url, token }: RemoteWorker,
  options: Pick<RemoteOptions, "ranks" | "link"> = {},
): Promise<Remote> {
  const { Remote } = platform.runtime === "deno"
    ? await import("../../cuda-bridge/client/deno.ts")
    : await import("../../cuda-bridge/client/node.ts");
  return await Remote.connect(url, { token, ...options, signal });
}

/** Starts ranks here, or reaches the worker that computes in their place. */
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

/** What validation has to know of the worker; undefined for ranks here. */
export function elsewhere(worker: RemoteWorker | undefined): Elsewhere | undefined {
  return worker && WORKER;
}

/** What only a run on a worker has to tell. */
export function remoteRunOf(report: Report): RemoteRun | undefined {
  return report.backend === "remote" ? (report as RemoteReport).remote : undefined;
}

/** Progress of a call on a line that overwrites itself; nothing where nobody watches. */
export function watchOf({ watched, stderr }: Io, what = "hops") {
  if (!watched) return {};
  const line = (text: string) => stderr(`\r\x1b[K${text}`);
  return {
    onQueued: (place: number) => line(place === 0 ? "" : `waiting: ${place} before this one`),
    onProgress: (done: number, total: number, note?: string) =>
      line(done === total ? "" : `${done} of ${total} ${what}${note === undefined ? "" : `: ${note}`}`),
  };
}

/** A remote run in lines for people. */
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

/** A verification as --json prints it. */
export function verificationDocument(
  { rows, maxOut, maxLse, tolerance, passed, worst, with: how, seconds }: Verification,
) {
  return { rows: rows.length, maxOut, maxLse, tolerance, passed, worst: worst ?? null, with: how, seconds };
}

/** A verification in a line for people. */
export function describeVerification(
  { rows, maxOut, maxLse, tolerance, passed, worst, with: how, seconds }: Verification,
): string {
  const where = worst === undefined
    ? ""
    : `; nearest to its bar: token ${worst.row[0]}, head ${worst.row[1]} (${worst.keys} keys): O off by ${
      worst.out.error.toExponential(2)
    } at column ${worst.out.column} of ${worst.out.allowed.toExponential(2)} allowed, LSE by ${
      worst.lse.error.toExponential(2)
    } of ${worst.lse.allowed.toExponential(2)}`;
  return `verified ${rows.length} rows here (${how}, ${seconds.toFixed(1)} s): out max ${
    maxOut.toExponential(2)
  }, lse max ${maxLse.toExponential(2)}: ${passed ? "passed" : "FAILED"}${where}\nallowed: ${tolerance}`;
}
