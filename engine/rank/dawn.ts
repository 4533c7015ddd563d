/** Dawn, Node's WebGPU, from the npm package `webgpu`: an optional one, of 132 MB. */
import { NoAdapterError } from "../errors.ts";

// Kept as long as the thread lives: if it is collected while a device lives, the process aborts.
let dawn: Promise<GPU> | undefined;

/**
 * This thread's instance, made once. Subgroup matrices, still an experiment in Dawn, need its switch for unsafe
 * features. Dawn rounds timestamps to steps of 65.5 us against spying pages; here nothing needs that, so it is off.
 * Errors: NoAdapterError if the package isn't installed.
 */
export function openDawn(): Promise<GPU> {
  return (dawn ??= load().then(({ create }) =>
    create([
      "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
      "disable-dawn-features=timestamp_quantization",
    ])
  ));
}

async function load(): Promise<typeof import("webgpu")> {
  try {
    return await import("webgpu");
  } catch (error) {
    // If the package is installed but one of its own files is missing, its own error says so.
    if ((error as { code?: string }).code !== "ERR_MODULE_NOT_FOUND" || !/'webgpu'/.test(String(error))) throw error;
    throw new NoAdapterError(
      "WebGPU in Node: found no package webgpu (Dawn), which is installed on request; run `npm install webgpu`, " +
        'or compute in plain TypeScript (backend: "cpu", --backend cpu)',
    );
  }
}
