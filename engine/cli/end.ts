/** Ends the command's process: with all its output printed, the right status, and nothing left computing. */
import { writeSync } from "node:fs";
import process from "node:process";

/** Seconds that a cancelled command has to tidy up. */
const GRACE = 2;

/** Prints, and survives a full disk or a closed pipe. */
export interface Printer {
  readonly print: (text: string) => void;
  /** Resolves once all is out, or to the reason that it isn't. A reader that stops early (`| head`) is not a fault. */
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

/** Ends this process when the launcher ends, because nobody waits for its result then. */
export function endWithLauncher(): void {
  if (process.send === undefined) return;
  process.on("disconnect", kill);
  // The launcher may have died while this process started.
  if (process.connected === false) kill();
  process.channel?.unref?.();
}

/**
 * Ends the process with `status`. `orderly` means that its workers have ended. Otherwise, and always in Deno, it kills
 * itself once the launcher has the status. A normal end is not safe there: Node crashes if it ends a worker thread
 * while Dawn compiles, and Deno sometimes crashes at its end after it used SwiftShader.
 */
export async function end(status: number, orderly: boolean): Promise<never> {
  if (orderly && !("Deno" in globalThis)) process.exit(status);
  if (process.send !== undefined) await new Promise((sent) => process.send!({ status }, undefined, undefined, sent));
  else if (orderly) process.exit(status);
  return kill();
}

/** Resolves when the command has had its time to tidy up after `signal` aborted. */
export function overdue(signal: AbortSignal): Promise<"overdue"> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => setTimeout(() => resolve("overdue"), GRACE * 1000))
  );
}

/** Writes a line to stderr before it returns. */
export function complain(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody reads stderr.
  }
}

function kill(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("killed");
}
