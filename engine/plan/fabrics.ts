/** Fabrics between hosts as data: line rate a GPU, and what is known to be achieved. */
import { InputError } from "../errors.ts";

/** The network between hosts, seen by one GPU. Bytes/s one way, seconds. */
export interface Fabric {
  readonly name: string;
  readonly label: string;
  /** Line rate of the port. */
  readonly line: number;
  /**
   * What one rank's traffic was measured to reach, where it was; otherwise the planner's share of the line rate is
   * used.
   */
  readonly achieved?: number;
  /** Of one message; otherwise the planner's message latency. */
  readonly latency?: number;
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

/** The fabric of that name. Errors: InputError listing the names there are. */
export function findFabric(name: string): Fabric {
  const found = FABRICS.find((f) => f.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(`unknown fabric ${JSON.stringify(name)}; there are ${FABRICS.map((f) => f.name).join(", ")}`);
  }
  return found;
}

/**
 * The share of a host link's rate that collectives reach: 370 of NVLink 4's 450 GB/s, the rest being protocol overhead
 * (an NCCL maintainer: https://github.com/NVIDIA/nccl-tests/issues/212). NVLink SHARP's all-reduce does better; it is
 * not assumed.
 */
export const HOST_LINK_SHARE = 370 / 450;
