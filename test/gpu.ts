/** The GPU that tests run on: the runtime's own, or Dawn in Node. No adapter is a failure, never a skip. */
import { readFile } from "node:fs/promises";
import { type Gpu, openDevice } from "../engine/gpu/device.ts";
import { Kernels } from "../engine/gpu/pipelines.ts";
import { Pool } from "../engine/gpu/pool.ts";
import { readShaders } from "../engine/gpu/shaders.ts";

let opened: Promise<{ gpu: Gpu; kernels: Kernels; pool: Pool }> | undefined;

/** One device for all tests of a file. */
export function testGpu(): Promise<{ gpu: Gpu; kernels: Kernels; pool: Pool }> {
  return (opened ??= open());
}

/** The runtime's own WebGPU, or Dawn in Node. */
export async function runtimeGpu(): Promise<GPU> {
  return (globalThis.navigator as Navigator | undefined)?.gpu ?? (await import("../engine/rank/dawn.ts")).openDawn();
}

async function open() {
  const gpu = await openDevice(await runtimeGpu());
  const shaders = await readShaders((url) => readFile(url, "utf8"));
  return { gpu, kernels: new Kernels(gpu, shaders), pool: new Pool(gpu.device) };
}
