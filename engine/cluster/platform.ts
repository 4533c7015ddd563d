/** What differs between a browser, Deno and Node for a cluster: starting a worker and reading a file. */
import type { Endpoint } from "comlink";
import type { Shaders } from "../gpu/shaders.ts";

/** A started worker. */
export interface RankWorker {
  /** For Comlink. */
  readonly endpoint: Endpoint;
  /** Called once when the worker ends or breaks by itself, with what is known of why. */
  onDeath(listener: (how: string) => void): void;
  terminate(): void;
}

/** One runtime. */
export interface Platform {
  readonly runtime: "browser" | "deno" | "node";
  startWorker(): RankWorker;
  shaders(): Promise<Shaders>;
}
