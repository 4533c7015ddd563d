/** What differs between a browser, Deno and Node for a cluster: starting a worker and reading a file. */
import type { Endpoint } from "comlink";
import type { KernelTexts } from "../gpu/shaders.ts";

/** A started worker. */
export interface RankWorker {
  /** For Comlink. */
  readonly endpoint: Endpoint;
  /** Called once if the worker ends or breaks unasked, with what is known of why. */
  onDeath(listener: (how: string) => void): void;
  /**
   * A Web Lock that the worker holds as long as it lives, and what is called when it has said something, so that it
   * holds it.
   */
  readonly lock?: string;
  heard?(): void;
  /** Ends a worker that has closed. */
  terminate(): void | Promise<void>;
  /** Lets go of a worker that does not answer: ends it if that is safe. */
  giveUp(): void;
}

/** One runtime. */
export interface ClusterPlatform {
  readonly runtime: "browser" | "deno" | "node";
  /**
   * Seconds of a rank's silence that count as its end. Long if the runtime notices a worker's end in another way:
   * threads are held up while kernels compile.
   */
  readonly silence: number;
  startWorker(): RankWorker;
  shaders(): Promise<KernelTexts>;
}
