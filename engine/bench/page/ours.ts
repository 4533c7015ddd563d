/** Ours in the page: the engine on its own device, with the kernel that it chooses. */
import { openDevice } from "../../gpu/device.ts";
import { Kernels } from "../../gpu/pipelines.ts";
import { Pool } from "../../gpu/pool.ts";
import { readShaders } from "../../gpu/shaders.ts";
import type { Bench } from "../open.ts";

/** Opens the page's device. */
export async function openOurs(): Promise<Bench> {
  const gpu = await openDevice(navigator.gpu);
  const kernels = new Kernels(gpu, await readShaders(async (url) => await (await fetch(url)).text()));
  return { gpu, kernels, pool: new Pool(gpu.device) };
}
