/** Dawn, Node's WebGPU. */
import { create } from "webgpu";

// Kept as long as the thread lives: the process aborts when it is collected while a device lives.
let dawn: GPU | undefined;

/**
 * This thread's, made once. Subgroup matrices, still an experiment of Dawn's, are behind its switch for unsafe
 * features.
 * Its timestamps come in steps of 65.5 us unless it is told that nobody here has to be kept from measuring.
 */
export function openDawn(): GPU {
  return (dawn ??= create([
    "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
    "disable-dawn-features=timestamp_quantization",
  ]));
}
