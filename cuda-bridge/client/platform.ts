/** What differs between a browser, Deno and Node for the client. */
import type { Platform } from "../../engine/cluster/platform.ts";

/** A thread that verifies rows: takes one request, answers with messages. */
export interface Helper {
  post(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Called with what is known of why, when it breaks or ends by itself. */
  onDeath(listener: (how: string) => void): void;
  terminate(): void;
}

/** One runtime. */
export interface ClientPlatform {
  readonly runtime: Platform["runtime"];
  /** Processors, as the runtime tells. */
  readonly processors: number;
  /** The standard WebSocket, or one like it. */
  webSocket(): Promise<typeof WebSocket>;
  /** Reads a text that lies beside the code. */
  read(url: URL): Promise<string>;
  /** Starts a thread that runs verify-thread. */
  startHelper(): Helper;
  /** The engine's part of it: the GPU of this thread, the shaders. */
  engine(): Promise<Pick<Platform, "threadGpu" | "shaders">>;
}
