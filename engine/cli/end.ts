/** How the command's process ends: with all that it printed, the right status, and nothing left computing. */
import { writeSync } from "node:fs";
import process from "node:process";

/** Seconds that a cancelled command has for tidying up. */
const GRACE = 2;

/** A way to print that a full disk or a closed pipe does not break. */
export interface Printer {
  readonly print: (text: string) => void;
  /** Resolves when all is out: to why it is not, if so. A reader that has had enough (`| head`) is no fault. */
  readonly flushed: () => Promise<string | undefined>;
}

/** Prints on stdout or stderr. */
export function printer(stream: NodeJS.WriteStream): Printer {
  let fault: string | undefined;
  let closed = false;
  const failed = (error: NodeJS.ErrnoException) => {
    closed = true;
    if (error.code !== "EPIPE") {
      fault ??= `standard output cannot be written (${
        error.code ?? error.message
      }): free some space, or print to another file`;
    }
  };
  stream.on("error", failed);
  const write = (text: string, then: () => void) => {
    if (closed) return then();
    try {
      stream.write(text, (error) => {
        if (error) failed(error);
        then();
      });
    } catch (error) {
      failed(error as Error);
      then();
    }
  };
  return {
    print: (text) => write(text, () => {}),
    flushed: () => new Promise((resolve) => write("", () => setTimeout(() => resolve(fault)))),
  };
}

/** Ends this process when the launcher does: nobody would wait for what it computes. */
export function endWithLauncher(): void {
  if (process.send === undefined) return;
  process.on("disconnect", kill);
  // It may have died while this process began.
  if (process.connected === false) kill();
  process.channel?.unref?.();
}

/**
 * Ends the process with `status`. `orderly`: its workers have ended. Otherwise, and in Deno always, it is killed once
 * the launcher has the status: a worker thread that Node ends while Dawn compiles takes the process down, and so does
 * Deno's end after SwiftShader was used, now and then.
 */
export async function end(status: number, orderly: boolean): Promise<never> {
  if (orderly && !("Deno" in globalThis)) process.exit(status);
  if (process.send !== undefined) await new Promise((sent) => process.send!({ status }, undefined, undefined, sent));
  else if (orderly) process.exit(status);
  return kill();
}

/** Resolves when `signal` has been aborted for so long that the command should have tidied up. */
export function overdue(signal: AbortSignal): Promise<"overdue"> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => setTimeout(() => resolve("overdue"), GRACE * 1000))
  );
}

/** A line on stderr that is out when this returns. */
export function complain(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody reads it.
  }
}

function kill(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("killed");
}
