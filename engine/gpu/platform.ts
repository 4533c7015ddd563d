/** What differs between a browser, Deno and Node for a device on the caller's own thread. */
import type { Gpu } from "./device.ts";
import type { KernelTexts } from "./shaders.ts";

/** A runtime's WebGPU for the caller's own thread, as RankPlatform is for a rank's. */
export interface ThreadGpu {
  /** undefined: the runtime has none. */
  readonly gpu: GPU | undefined;
  /** Awaits a device's answer; default: a plain await. */
  readonly wait?: Gpu["wait"];
  /** Whether pipelines are compiled on the thread (see Kernels). */
  readonly blockingCompile: boolean;
}

/** One runtime: its shaders, and its WebGPU if the caller's thread has one. */
export interface GpuPlatform {
  readonly runtime: "browser" | "deno" | "node";
  shaders(): Promise<KernelTexts>;
  /** WebGPU for the caller's own thread. If it is missing, only ranks have devices. */
  threadGpu?(): Promise<ThreadGpu>;
}
