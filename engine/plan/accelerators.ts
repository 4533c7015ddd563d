/** Accelerators as data: datasheet peaks, memory, and the links between the GPUs of a host. */
import { InputError } from "../errors.ts";

/** Datasheet figures of one GPU. Rates are dense (no sparsity). */
export interface Accelerator {
  /** The name that findAccelerator takes. */
  readonly name: string;
  /** The name for people. */
  readonly label: string;
  /** bf16 tensor-core peak, FLOP/s. */
  readonly bf16: number;
  /** FP8 tensor-core peak, FLOP/s. */
  readonly fp8: number;
  /** HBM size, bytes. */
  readonly memory: number;
  /** HBM bandwidth, bytes/s. */
  readonly memoryRate: number;
  /** Streaming multiprocessors (compute units): the number of matrix tiles that run at once. */
  readonly units: number;
  /** Link to the other GPUs of the host, bytes/s one way. */
  readonly hostLink: number;
  /** Where the figures come from, most often the address of the datasheet. */
  readonly source: string;
}

/** The accelerators known by name. */
export const ACCELERATORS: readonly Accelerator[] = [
  {
    name: "h100-hbm2e",
    label: "H100 96 GB HBM2e, 500 W (the paper's)",
    bf16: 800e12,
    // The paper doesn't give it. Every H100 has twice the bf16 peak.
    fp8: 1600e12,
    memory: 96e9,
    memoryRate: 2.4e12,
    units: 132,
    hostLink: 450e9,
    source: "https://arxiv.org/abs/2411.01783 (section 4.1, appendix A)",
  },
  {
    name: "h100",
    label: "H100 SXM 80 GB",
    bf16: 989e12,
    fp8: 1979e12,
    memory: 80e9,
    memoryRate: 3.35e12,
    units: 132,
    hostLink: 450e9,
    source: "https://www.nvidia.com/en-us/data-center/h100/",
  },
  {
    name: "h200",
    label: "H200 SXM 141 GB",
    bf16: 989e12,
    fp8: 1979e12,
    memory: 141e9,
    memoryRate: 4.8e12,
    units: 132,
    hostLink: 450e9,
    source: "https://www.nvidia.com/en-us/data-center/h200/",
  },
  {
    name: "b200",
    label: "B200 (HGX, 1000 W)",
    bf16: 2250e12,
    fp8: 4500e12,
    memory: 180e9,
    memoryRate: 8e12,
    units: 148,
    hostLink: 900e9,
    source: "https://www.nvidia.com/en-us/data-center/hgx/",
  },
  {
    name: "mi300x",
    label: "Instinct MI300X",
    bf16: 1307.4e12,
    fp8: 2614.9e12,
    memory: 192e9,
    memoryRate: 5.3e12,
    units: 304,
    // Seven Infinity Fabric links, each with 64 GB/s one way.
    hostLink: 448e9,
    source: "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
  },
];

/** The accelerator of that name. Errors: InputError with the known names. */
export function findAccelerator(name: string): Accelerator {
  const found = ACCELERATORS.find((a) => a.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(
      `accelerator: found ${JSON.stringify(name)}, expected one of ${ACCELERATORS.map((a) => a.name).join(", ")}`,
    );
  }
  return found;
}
