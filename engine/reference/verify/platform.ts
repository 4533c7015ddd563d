/** What differs between a browser, Deno and Node for verification. */
import type { GpuPlatform } from "../../gpu/platform.ts";

/** A thread that verifies rows: takes one request, answers with messages. */
export interface VerifyThread {
  post(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Calls back with what is known of the cause if the thread breaks or ends unasked. */
  onDeath(listener: (how: string) => void): void;
  terminate(): void;
}

/** One runtime, with its GPU for verification there. */
export interface VerifyPlatform extends GpuPlatform {
  /** Processors, as the runtime reports them. */
  readonly processors: number;
  /** Starts a thread that runs thread.ts. */
  startThread(): VerifyThread;
}
