/** The errors of a remote worker: its error messages and close codes, with what to do about each. */
import { InputError, LimitError, RankError } from "../../engine/index.ts";
import { printable } from "./clean.ts";

/** What went wrong at a remote worker or on the way to it: the client's own codes, then the protocol's. */
export type RemoteCode =
  | "unreachable"
  | "connect-timeout"
  | "lost"
  | "silent"
  | "bad-reply"
  | "closed"
  | "session-gone"
  | "bad-hello"
  | "bad-token"
  | "bad-version"
  | "bad-origin"
  | "too-many-connections"
  | "bad-message"
  | "bad-frame"
  | "too-large"
  | "queue-full"
  | "unknown-session"
  | "too-many-sessions"
  | "cancelled"
  | "time-limit"
  | "worker-failed"
  | "shutting-down";

/** A remote worker could not be reached, was lost, or failed. Never holds the token. */
export class RemoteError extends Error {
  /** The class's name. */
  override name = "RemoteError";
  /** The kind of failure. */
  readonly code: RemoteCode;
  /** The worker's address. */
  readonly address: string;
  /** What was wrong, without the advice. */
  readonly what: string;
  /** `todo` is what to do about it. */
  constructor(code: RemoteCode, address: string, what: string, todo: string) {
    super(`${address}: ${what}; ${todo}`);
    this.code = code;
    this.address = address;
    this.what = what;
  }
}

/** An `error` message of the protocol. */
export interface ErrorMessage {
  readonly code: string;
  readonly message: string;
  readonly id?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

const ADVICE: Readonly<Record<RemoteCode, string>> = {
  unreachable:
    "check that the worker runs (python -m ringside_worker), that host and port are right, and, from a page, that the " +
    "worker allows its origin (--origin)",
  "connect-timeout": "check that host and port are right and that no firewall drops the connection",
  lost: "nothing was run again: start it again, and the client connects again",
  silent: "check whether the worker still runs, and start the call again",
  "bad-reply": "client and worker do not understand each other: use the same version of both",
  closed: "connect again",
  "session-gone": "its cache went with the connection: open a new session",
  "bad-hello": "use the same version of client and worker",
  "bad-token": "use the token that the worker printed when it last started",
  "bad-version": "use the same version of client and worker",
  "bad-origin": "start the worker with --origin and this page's origin",
  "too-many-connections": "close another one, or start the worker with --limit connections=N",
  "bad-message": "client and worker do not understand each other: use the same version of both",
  "bad-frame": "client and worker do not understand each other: use the same version of both",
  "too-large": "send or ask for less at once, or start the worker with --limit tensor-bytes=N",
  "queue-full": "try again when one of the waiting runs is done",
  "unknown-session": "open a new session",
  "too-many-sessions": "close another one, or start the worker with --limit sessions=N",
  cancelled: "start it again",
  "time-limit": "make the run smaller, or start the worker with --limit run-seconds=S",
  "worker-failed": "read what the worker printed; you may have to start it again",
  "shutting-down": "start the worker again",
};

/** The error of a code, with what to do about it. */
export function remoteError(
  code: RemoteCode,
  address: string,
  what: string,
  advice: string = ADVICE[code],
): RemoteError {
  return new RemoteError(code, address, printable(what).replace(/[.;]\s*$/, ""), advice);
}

/** A connection that failed. `message` is what the runtime says about it; a page gets nothing. */
export function unreachable(address: string, runtime: string, message = ""): RemoteError {
  const what = `the connection was refused${message === "" ? "" : ` (${message})`}`;
  if (/\b403\b/.test(message)) return remoteError("bad-origin", address, what);
  if (/\b400\b/.test(message)) {
    return remoteError("bad-reply", address, `${what}, perhaps because the server there doesn't speak ringside-1`);
  }
  const plain = address.startsWith("ws:");
  const other = plain ? address.replace("ws:", "wss:") : address.replace("wss:", "ws:");
  if (plain && /hang up|before message completed|reset|parse error|invalid http/i.test(message)) {
    const found = `the server there accepted the connection and hung up (${message})`;
    return remoteError(
      "unreachable",
      address,
      found,
      `a worker with a certificate (--cert) does that: its address is ${other}`,
    );
  }
  if (!plain && /before secure TLS|handshake eof|wrong version|corrupt message|EPROTO/i.test(message)) {
    const found = `the server there does not speak TLS (${message})`;
    return remoteError(
      "unreachable",
      address,
      found,
      `a worker without a certificate does that: its address is ${other}`,
    );
  }
  if (!plain && /certificate|UnknownIssuer/i.test(message)) {
    const variable = runtime === "deno" ? "DENO_CERT" : "NODE_EXTRA_CA_CERTS";
    const found = "the worker's certificate is not trusted here, or is for another name";
    return remoteError(
      "unreachable",
      address,
      what,
      `${found}: start this command with ${variable}=cert.pem, the worker's file`,
    );
  }
  if (!plain || message !== "") return remoteError("unreachable", address, what);
  const tls = `that it has no certificate (with --cert its address is ${other})`;
  return remoteError("unreachable", address, what, `${ADVICE.unreachable}, and ${tls}`);
}

/** The error that an `error` message stands for. Hides the token if the worker repeats it. */
export function errorOf({ code, message, details = {} }: ErrorMessage, address: string, token: string): Error {
  const text = token === "" ? message : message.replaceAll(token, "(the token)");
  const { need, have, fits, rank, hop, awaited } = details;
  const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
  if (code === "bad-input") return new InputError(`${address}: ${text}`);
  if (code === "does-not-fit" && whole(need) && whole(have)) {
    const error = new LimitError("memory (bytes)", have, need);
    error.message = `${address}: ${text}${
      typeof fits === "string" && !text.includes(fits) ? `; what would fit: ${fits}` : ""
    }`;
    return error;
  }
  if (code === "rank-died" && whole(rank)) {
    return new RankError(
      rank,
      whole(hop) ? hop : undefined,
      typeof awaited === "string" ? awaited : undefined,
      `${address}: ${text}`,
    );
  }
  return remoteError(Object.hasOwn(ADVICE, code) ? code as RemoteCode : "worker-failed", address, `${code}: ${text}`);
}

/** The error that a close code stands for, if no `error` message gave the reason before. */
export function errorOfClose(code: number, reason: string, address: string): RemoteError {
  const said = reason === "" ? `close code ${code}` : `close code ${code}: ${reason}`;
  const known: Readonly<Record<number, [RemoteCode, string]>> = {
    1001: ["shutting-down", "the worker is shutting down"],
    1009: ["too-large", "a message was too large"],
    4400: ["bad-message", "the worker rejected a message or frame"],
    4401: ["bad-token", "the worker rejected the token"],
    4406: ["bad-version", "the worker speaks another version of the protocol"],
    4408: ["silent", "the worker ended the connection as idle or stalled"],
    4429: ["too-many-connections", "the worker has as many connections as it allows"],
  };
  const [name, what] = known[code] ?? ["lost", "the connection was lost"];
  return remoteError(name, address, `${what} (${said})`);
}
