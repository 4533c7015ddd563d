/** What every measurement runs on: one device with its kernels and buffers. */
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/pipelines.ts";
import type { Pool } from "../gpu/pool.ts";
import type { Warmth } from "./warm.ts";

/** An open device. */
export interface Bench {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly pool: Pool;
  /** Where times are measured on hardware. */
  readonly warmth?: Warmth | undefined;
}
