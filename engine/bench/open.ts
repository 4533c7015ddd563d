/** What every measurement runs on: one open device with its kernels and buffers. */
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/pipelines.ts";
import type { Pool } from "../gpu/pool.ts";
import type { Warmth } from "./warm.ts";

/** An open device, with what was made on it. */
export interface Bench {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly pool: Pool;
  /** Only on hardware, and only for timing. */
  readonly warmth?: Warmth | undefined;
}
