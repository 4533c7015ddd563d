/** The adapter finder's declarations, for those who import `ringside-cp/adapters`. */

/** A WebGPU adapter, and how a process gets it. */
export interface Adapter {
  /**
   * The whole environment to start the process with. The Vulkan loader reads it when a process starts; later is too
   * late. `RINGSIDE_ADAPTER_SOURCE` in it says in one line where the adapter comes from.
   */
  readonly env: Record<string, string | undefined>;
  /** The adapter's name, as the driver gives it. */
  readonly name: string;
  /** Where it comes from: the system's driver, a browser, an npm package. */
  readonly source: string;
  /** True if it emulates a GPU on the CPU. */
  readonly software: boolean;
  /** Those of shader-f16, subgroups and timestamp-query that it has. */
  readonly features: readonly string[];
}

/**
 * Finds a WebGPU adapter for Node (with the package `webgpu`) or Deno, without root: an installed driver, else
 * SwiftShader from an installed browser or from the npm package `@sparticuz/chromium`. A small process tries each.
 * Errors: an Error that says what was tried and what to install.
 */
export function findAdapter(runtime: "node" | "deno"): Promise<Adapter>;

/** One line for people: the adapter, its features and its source. */
export function describe(adapter: Pick<Adapter, "name" | "source" | "features">): string;
