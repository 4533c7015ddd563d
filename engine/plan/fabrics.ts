/** Fabrics between hosts as data: the line rate of a GPU's port, and the achieved rate if somebody measured it. */
import { InputError } from "../errors.ts";

/** The network between hosts as one GPU sees it. Rates in bytes/s one way, times in seconds. */
export interface Fabric {
  /** The name that findFabric takes. */
  readonly name: string;
  /** The name for people. */
  readonly label: string;
  /** Line rate of the port. */
  readonly line: number;
  /** The measured rate of one rank's traffic. Without it, the planner takes its share of the line rate. */
  readonly achieved?: number;
  /** Latency of one message. Without it, the planner takes its own message latency. */
  readonly latency?: number;
  /** Where the figures come from. */
  readonly source: string;
}

/** The fabrics known by name. */
export const FABRICS: readonly Fabric[] = [
  {
    name: "gtt",
    label: "Grand Teton Training: 400 Gb/s RDMA a GPU",
    line: 50e9,
    source: "https://arxiv.org/abs/2411.01783 (section 4.1)",
  },
  {
    name: "gti",
    label: "Grand Teton Inference: 100 Gb/s TCP a GPU, 3 GB/s achieved",
    line: 12.5e9,
    achieved: 3e9,
    source: "https://arxiv.org/abs/2411.01783 (sections 4.1, 4.2.1)",
  },
  {
    name: "ndr",
    label: "InfiniBand NDR or RoCE: 400 Gb/s a GPU",
    line: 50e9,
    source: "https://www.nvidia.com/en-us/networking/infiniband-adapters/",
  },
  {
    name: "xdr",
    label: "InfiniBand XDR or RoCE: 800 Gb/s a GPU",
    line: 100e9,
    source: "https://www.nvidia.com/en-us/networking/infiniband-adapters/",
  },
];

/** The fabric of that name. Errors: InputError with the known names. */
export function findFabric(name: string): Fabric {
  const found = FABRICS.find((f) => f.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(
      `fabric: found ${JSON.stringify(name)}, expected one of ${FABRICS.map((f) => f.name).join(", ")}`,
    );
  }
  return found;
}

/**
 * The share of a host link's rate that collectives reach: 370 of NVLink 4's 450 GB/s. The rest is protocol overhead,
 * according to an NCCL maintainer (https://github.com/NVIDIA/nccl-tests/issues/212). NVLink SHARP's all-reduce does
 * better; we don't assume it.
 */
export const HOST_LINK_SHARE = 370 / 450;
