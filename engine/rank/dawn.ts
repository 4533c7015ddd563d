/** Dawn, Node's WebGPU. */
import { create } from "webgpu";

// Kept as long as the thread lives: if it is collected while a device lives, the process aborts.
let dawn: GPU | undefined;

/**
 * This thread's instance, made once. Subgroup matrices, still an experiment in Dawn, need its switch for unsafe
 * features. Dawn rounds timestamps to steps of 65.5 us against spying pages; here nothing needs that, so it is off.
 */
export function openDawn(): GPU {
  return (dawn ??= create([
    "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
    "disable-dawn-features=timestamp_quantization",
  ]));
}
