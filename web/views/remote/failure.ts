/** Errors of a connection or a run, for the visitor. */

/** What happened, the whole error, and what to do. */
export interface Failure {
  readonly title: string;
  readonly message: string;
  readonly advice: string;
  /** The connection's field that is wrong. */
  readonly field?: "address" | "token";
  /** New tokens that would fit, if the machine says how many. */
  readonly fits?: number;
}

/** An error of the client. A RemoteError has a code of the protocol. */
interface Known {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** The worker's words for what would fit; the protocol has no field for it. */
const WOULD_FIT = /(?:about )?(\d+) new tokens would/;

const connecting: Readonly<Record<string, Omit<Failure, "message">>> = {
  "bad-token": {
    title: "The worker rejects this token",
    advice: "It prints a fresh token each time it starts. Copy the new one.",
    field: "token",
  },
  "bad-version": {
    title: "The worker speaks another version",
    advice: "Start a worker from the same version of Ringside as this page.",
  },
  "bad-hello": {
    title: "The worker did not understand the greeting",
    advice: "Start a worker from the same version of Ringside as this page.",
  },
  "bad-origin": {
    title: "The worker rejects pages from this address",
    advice: "Start it with the --origin in this page’s command.",
    field: "address",
  },
  "too-many-connections": {
    title: "The worker has no connection left",
    advice: "Close another page or client of this worker, then connect again.",
  },
  "shutting-down": { title: "The worker is shutting down", advice: "Start it again. It will print a new token." },
};

/** Why a connection failed. */
export function connectionFailure(error: unknown, address: string, page: string): Failure {
  const { name, message, code } = known(error);
  if (code !== undefined && Object.hasOwn(connecting, code)) return { ...connecting[code], message };
  // The client rejected it before it sent anything.
  if (name === "InputError") {
    const field = message.startsWith("token") ? "token" : "address";
    return {
      title: `This is not the ${field} of a worker`,
      message,
      field,
      advice: "The worker prints its address and a fresh token each time it starts. Copy both.",
    };
  }
  return {
    title: `No worker answers at ${address}`,
    message,
    field: "address",
    advice:
      `This page is ${page}. A browser does not tell a page whether nothing listens there or the worker rejected ` +
      "the page. The worker’s own output says so.",
  };
}

/** Why a connection was lost, after a failed attempt to reconnect. */
export function lostFailure(why: string | undefined, error: unknown): Failure {
  return {
    title: "The connection was lost",
    message: why ?? known(error).message,
    advice: "The page tried again, and the worker did not answer. A worker that started again has a new token.",
    field: "address",
  };
}

/** Why a run failed. */
export function runFailure(error: unknown): Failure {
  const { name, message, code } = known(error);
  if (name === "LimitError" || code === "does-not-fit") {
    const fits = Number(WOULD_FIT.exec(message)?.[1] ?? 0);
    return {
      title: "It does not fit this machine",
      message,
      advice: "Take fewer tokens, more processes or a 16-bit type.",
      ...(fits > 0 ? { fits } : {}),
    };
  }
  if (name === "InputError" || code === "bad-input") {
    return {
      title: "The machine rejects this experiment",
      message,
      advice: "Change the part of the sentence that the message names.",
    };
  }
  if (name === "RankError" || code === "rank-died") {
    return {
      title: "A rank of the machine failed",
      message,
      advice: "Run again once the worker is back. Its own output says what happened.",
    };
  }
  if (code === "time-limit") {
    return {
      title: "The run took longer than the worker allows",
      message,
      advice: "Take fewer tokens, or start the worker with a larger limit.",
    };
  }
  if (code === "queue-full") return { title: "Too many runs are waiting", message, advice: "Run again later." };
  if (code === "worker-failed") {
    return {
      title: "The worker failed",
      message,
      advice: "Its own output says why. It takes the next run unless it says otherwise.",
    };
  }
  return {
    title: "The run ended with the connection",
    message,
    advice: "What arrived before is below. Connect and run again.",
  };
}

function known(error: unknown): Known {
  return error instanceof Error ? (error as Known) : { name: "", message: String(error) };
}
