/** What differs between a browser, Deno and Node for a cluster: starting a worker and reading a file. */
import type { Endpoint } from "comlink";
import type { Bridge } from "../../cuda-bridge/client/types.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Shaders } from "../gpu/shaders.ts";

/** A started worker. */
export interface RankWorker {
  /** For Comlink. */
  readonly endpoint: Endpoint;
  /** Called once when the worker ends or breaks by itself, with what is known of why. */
  onDeath(listener: (how: string) => void): void;
  /**
   * A Web Lock that the worker holds as long as it lives, and what is called when it has said something, so that it
   * holds it.
   */
  readonly lock?: string;
  heard?(): void;
  /** Ends a worker that has closed. */
  terminate(): void | Promise<void>;
  /** Lets go of a worker that does not answer: ends it where that is safe. */
  giveUp(): void;
}

/** A runtime's WebGPU for the caller's own thread, as RankPlatform is for a rank's. */
export interface ThreadGpu {
  /** undefined: the runtime has none. */
  readonly gpu: GPU | undefined;
  /** Awaits a device's answer; default: as it is. */
  readonly wait?: Gpu["wait"];
  /** Whether pipelines are compiled on the thread (see Kernels). */
  readonly blockingCompile: boolean;
}

/** One runtime. */
export interface Platform {
  readonly runtime: "browser" | "deno" | "node";
  /**
   * Seconds of a rank's silence that count as its end. Long where a worker's end is noticed in itself: threads are held
   * while kernels compile.
   */
  readonly silence: number;
  startWorker(): RankWorker;
  shaders(): Promise<Shaders>;
  /** WebGPU for the caller's own thread; where it is missing, only ranks have devices. */
  threadGpu?(): Promise<ThreadGpu>;
  /** The client of remote workers, loaded when one is asked for; where it is missing, there are only ranks here. */
  bridge?(): Promise<Bridge>;
}
