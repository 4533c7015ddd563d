/** Facts of a device that reports and plans use, in types that no compiler needs WebGPU's declarations for. */

/** What computed. */
export interface AdapterFacts {
  /** One line for people: vendor, architecture, description; "none: plain TypeScript" for the cpu back-end. */
  readonly name: string;
  /** As WebGPU's `GPUAdapterInfo` gives it; may be empty. */
  readonly vendor: string;
  /** As WebGPU's `GPUAdapterInfo` gives it; may be empty. */
  readonly architecture: string;
  /** As WebGPU's `GPUAdapterInfo` gives it; may be empty. */
  readonly description: string;
  /** True if it emulates a GPU on the CPU (SwiftShader, lavapipe) or is no GPU at all. */
  readonly software: boolean;
  /** Names of WebGPU features that the adapter has. */
  readonly features: readonly string[];
}

/** The limits of a device that attention may reach, in bytes. */
export interface DeviceLimits {
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
}
