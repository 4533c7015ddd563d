/** Opens one GPU device with all the memory that the adapter offers, and names the adapter. */
import { LimitError, NoAdapterError } from "../errors.ts";
import type { AdapterFacts, DeviceLimits } from "./facts.ts";

/** A device, and what Ringside needs to know of it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** The limits it was opened with: all that the adapter offers. */
  readonly limits: DeviceLimits;
  readonly facts: AdapterFacts;
  readonly timestamps: boolean;
  /** Lanes of a subgroup. Undefined if subgroups differ in size or the device has none. */
  readonly subgroupSize: number | undefined;
  /** Fewest lanes that a subgroup may have. Undefined if the device has none or shaders can't read `subgroup_id`. */
  readonly leastSubgroup: number | undefined;
  /** Workgroup memory, in bytes. */
  readonly workgroupMemory: number;
  /** Whether it has the subgroup matrices and the workgroup memory that attend-matrix.wgsl needs. */
  readonly matrices: boolean;
  /** Awaits an answer of the device, in the way that the runtime needs. */
  readonly wait: <T>(answer: Promise<T>) => Promise<T>;
  /** Resolves when the device owes no answer. */
  readonly answered: () => Promise<void>;
}

/** Adapters that emulate a GPU on the CPU. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i;

/**
 * Opens the device of an adapter, with the largest storage bindings and buffers it offers, and timestamps if it has
 * them. Errors: NoAdapterError if there is no adapter.
 */
export async function openDevice(gpu: GPU | undefined, wait: Gpu["wait"] = (answer) => answer): Promise<Gpu> {
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new NoAdapterError(
      gpu === undefined
        ? "this runtime has no WebGPU: use one that has, or the plain TypeScript back-end (--backend cpu)"
        : "WebGPU is here but offers no adapter: install a Vulkan driver, start Chromium with " +
          "--enable-unsafe-webgpu, or use the plain TypeScript back-end (--backend cpu)",
    );
  }
  const timestamps = adapter.features.has("timestamp-query");
  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  const subgroupSize = adapter.features.has("subgroups") && subgroupMinSize === subgroupMaxSize
    ? subgroupMinSize
    : undefined;
  const leastSubgroup = adapter.features.has("subgroups") && gpu!.wgslLanguageFeatures?.has("subgroup_id")
    ? subgroupMinSize
    : undefined;
  const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize } = adapter.limits;
  const matrices = hasMatrices(adapter, subgroupSize);
  const device = await adapter.requestDevice({
    requiredFeatures: [
      ...["timestamp-query", "subgroups"].filter((feature) => adapter.features.has(feature)),
      ...(matrices ? MATRIX_FEATURES : []),
    ] as GPUFeatureName[],
    requiredLimits: { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize },
  });
  const owed = new Set<Promise<unknown>>();
  const counted = async <T>(answer: Promise<T>): Promise<T> => {
    owed.add(answer);
    try {
      return await wait(answer);
    } finally {
      owed.delete(answer);
    }
  };
  const answered = async () => {
    while (owed.size > 0) await Promise.allSettled(owed);
  };
  const { vendor, architecture, description } = adapter.info;
  const name =
    [description || adapter.info.device, [vendor, architecture].filter(Boolean).join(" ")].filter(Boolean).join(", ") ||
    "unnamed adapter";
  const software = SOFTWARE.test(`${name} ${adapter.info.device}`) ||
    (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter === true;
  return {
    device,
    limits: { maxStorageBufferBindingSize, maxBufferSize },
    timestamps,
    subgroupSize,
    leastSubgroup,
    workgroupMemory: maxComputeWorkgroupStorageSize,
    matrices,
    wait: counted,
    answered,
    facts: { name, vendor, architecture, description, software, features: [...adapter.features].sort() },
  };
}

/** What attend-matrix.wgsl enables. */
const MATRIX_FEATURES = ["shader-f16", "chromium-experimental-subgroup-matrix"];
/** Its workgroup memory at D 128, in bytes. */
const MATRIX_MEMORY = 32768;

/**
 * A product that an adapter's matrix units compute, as the draft of the feature lists it (gpuweb,
 * proposals/subgroup-matrix.md).
 */
interface MatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

function hasMatrices({ features, limits, info }: GPUAdapter, subgroupSize: number | undefined): boolean {
  const configs = (info as { subgroupMatrixConfigs?: Iterable<MatrixConfig> }).subgroupMatrixConfigs ?? [];
  return MATRIX_FEATURES.every((feature) => features.has(feature)) && subgroupSize === 32 &&
    limits.maxComputeWorkgroupStorageSize >= MATRIX_MEMORY &&
    [...configs].some(({ M, N, K, componentType, resultComponentType }) =>
      M === 16 && N === 16 && K === 16 && componentType === "f16" && resultComponentType === "f32"
    );
}

/**
 * Throws LimitError if a storage buffer of `need` bytes is larger than the device allows. `largestT`: the tokens that
 * would fit.
 */
export function requireStorage(limits: DeviceLimits, need: number, largestT: (have: number) => number): void {
  for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
    const have = limits[limit];
    if (need > have) throw new LimitError(`${limit} (bytes)`, have, need, largestT(have));
  }
}
