/** Devices of this machine for a comparison: its GPU, or plain TypeScript. */
import { CpuAttention } from "../../cpu/attention.ts";
import { NoAdapterError } from "../../errors.ts";
import { GpuAttention } from "../../gpu/attention.ts";
import { openDevice } from "../../gpu/device.ts";
import { Kernels } from "../../gpu/pipelines.ts";
import { Pool } from "../../gpu/pool.ts";
import { now, Recorder } from "../../trace/clock.ts";
import type { GpuPlatform } from "../../gpu/platform.ts";
import type { Attender, OpenAttender } from "./expected.ts";

/** An open device. */
export interface Attenders {
  readonly open: OpenAttender;
  /** What computes. */
  readonly adapter: string;
  close(): Promise<void>;
}

/** Opens this machine's GPU or, with `cpu`, plain TypeScript. Errors: NoAdapterError. */
export async function attenders(platform: GpuPlatform, backend: "webgpu" | "cpu"): Promise<Attenders> {
  if (backend === "cpu") {
    return {
      open: (shape) => new CpuAttention(shape, new Recorder(0, now())) as unknown as Attender,
      adapter: "none: plain TypeScript on the CPU",
      close: () => Promise.resolve(),
    };
  }
  if (platform.threadGpu === undefined) {
    throw new NoAdapterError(`the runtime ${platform.runtime} gives this thread no GPU: use the back-end cpu`);
  }
  const { gpu: own, wait, blockingCompile } = await platform.threadGpu();
  const gpu = await openDevice(own, wait);
  const kernels = new Kernels(gpu, await platform.shaders(), blockingCompile);
  const pool = new Pool(gpu.device);
  return {
    open: (shape) => new GpuAttention(gpu, kernels, pool, shape, new Recorder(0, now())) as unknown as Attender,
    adapter: gpu.facts.name,
    async close() {
      await kernels.settled();
      pool.destroy();
      gpu.device.destroy();
    },
  };
}
