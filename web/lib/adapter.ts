/** What this browser can compute on, known before the first run. */

/** What the badge shows. */
export interface Adapter {
  /** False if there is no WebGPU. Runs then compute in plain TypeScript. */
  readonly webgpu: boolean;
  /** The adapter's name, or why there is none, in one line. */
  readonly name: string;
  /** True if a CPU emulates the GPU. */
  readonly software: boolean;
}

/** Asks the browser for its WebGPU adapter. */
export async function probeAdapter(): Promise<Adapter> {
  const gpu = (navigator as { gpu?: GPU }).gpu;
  if (gpu === undefined) return { webgpu: false, name: "this browser has no WebGPU", software: true };
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) return { webgpu: false, name: "this browser offers no WebGPU adapter", software: true };
    const { vendor, architecture, description } = adapter.info;
    const words = description !== "" ? description : [vendor, architecture].filter((word) => word !== "").join(" ");
    return {
      webgpu: true,
      name: words === "" ? "unnamed adapter" : words,
      software: adapter.info.isFallbackAdapter ||
        /swiftshader|llvmpipe|lavapipe|software/i.test(`${vendor} ${architecture} ${description}`),
    };
  } catch (error) {
    return {
      webgpu: false,
      name: `WebGPU failed: ${error instanceof Error ? error.message : String(error)}`,
      software: true,
    };
  }
}
