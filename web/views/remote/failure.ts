/** What went wrong with a connection or a run, told to people. */

/** What happened, the error whole, what to do. */
export interface Failure {
  readonly title: string;
  readonly message: string;
  readonly advice: string;
  /** The field of the connection that it is about. */
  readonly field?: "address" | "token";
  /** New tokens that would fit, where the machine says how many. */
  readonly fits?: number;
}

/** An error of the client: RemoteError has a code of the protocol. */
interface Known {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** How the worker says what would fit: the protocol has it in words. */
const WOULD_FIT = /(?:about )?(\d+) new tokens would/;

const connecting: Readonly<Record<string, Omit<Failure, "message">>> = {
  "bad-token": {
    title: "The worker refuses this token",
    advice: "It prints a fresh token each time it starts: copy it again.",
    field: "token",
  },
  "bad-version": {
    title: "The worker speaks another version",
    advice: "Start a worker of the same Ringside as this page.",
  },
  "bad-hello": {
    title: "The worker did not understand the greeting",
    advice: "Start a worker of the same Ringside as this page.",
  },
  "bad-origin": {
    title: "The worker refuses pages from this address",
    advice: "Start it with the --origin that the command on this page has.",
    field: "address",
  },
  "too-many-connections": {
    title: "The worker has no connection left",
    advice: "Close another page or client of it, then connect again.",
  },
  "shutting-down": { title: "The worker is shutting down", advice: "Start it again; its token will be another." },
};

/** Why a connection could not be made, or was lost. */
export function connectionFailure(error: unknown, address: string, page: string): Failure {
  const { name, message, code } = known(error);
  if (code !== undefined && Object.hasOwn(connecting, code)) return { ...connecting[code], message };
  // The client refused it before anything was sent.
  if (name === "InputError") {
    const field = message.startsWith("token") ? "token" : "address";
    return {
      title: `This is no ${field} of a worker`,
      message,
      field,
      advice: "The worker prints its address and a fresh token each time it starts: copy both.",
    };
  }
  return {
    title: `No worker answers at ${address}`,
    message,
    field: "address",
    advice:
      `This page is ${page}. A browser does not tell a page whether nothing listens there or the page was refused: the worker says so where it runs.`,
  };
}

/** Why a connection was lost, when it could not be had again. */
export function lostFailure(why: string | undefined, error: unknown): Failure {
  return {
    title: "The connection was lost",
    message: why ?? known(error).message,
    advice: "It was tried again and the worker did not answer. One that was started anew has another token.",
    field: "address",
  };
}

/** Why a run came to nothing. */
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
      title: "The machine refuses this experiment",
      message,
      advice: "Change the part of the sentence that the message names.",
    };
  }
  if (name === "RankError" || code === "rank-died") {
    return {
      title: "A rank of the machine failed",
      message,
      advice: "Run again once the worker is back; where it runs it says what happened.",
    };
  }
  if (code === "time-limit") {
    return {
      title: "The run took longer than the worker allows",
      message,
      advice: "Take fewer tokens, or start the worker with a larger limit.",
    };
  }
  if (code === "queue-full") return { title: "Too many runs are waiting", message, advice: "Run again in a while." };
  if (code === "worker-failed") {
    return {
      title: "The worker failed",
      message,
      advice: "Where it runs it says why. It takes the next run unless it says otherwise.",
    };
  }
  return {
    title: "The run ended with the connection",
    message,
    advice: "What had come of it stands below. Connect again to run it anew.",
  };
}

function known(error: unknown): Known {
  return error instanceof Error ? (error as Known) : { name: "", message: String(error) };
}
