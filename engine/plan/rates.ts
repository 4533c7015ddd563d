/** The rates that a cluster achieves: datasheet peaks and line rates times the planner's shares. */
import { type ClusterSpec } from "./clusters.ts";
import { HOST_LINK_SHARE } from "./fabrics.ts";
import type { PlanParameters } from "./parameters.ts";

/** A link, as one message sees it. */
export interface Wire {
  /** Bytes/s. */
  readonly rate: number;
  /** Seconds. */
  readonly latency: number;
}

/** Achieved rates of one GPU and its links: FLOP/s, bytes/s, seconds. */
export interface GpuRates {
  /** bf16 tensor-core work. */
  readonly tensor: number;
  /** FP8 matrix products. */
  readonly fp8: number;
  /** HBM bandwidth. */
  readonly memory: number;
  /** Streaming multiprocessors of the GPU. */
  readonly units: number;
  /** Between GPUs of one host. */
  readonly host: Wire;
  /** One ring transfer between hosts. */
  readonly flow: Wire;
  /** All of a GPU's traffic between hosts, which simultaneous transfers share. */
  readonly port: number;
  /** The rate of a GPU's port in an all-reduce between hosts. */
  readonly allReducePort: number;
  /** GPUs of a host. */
  readonly gpusPerHost: number;
  /** The parameters that gave these rates. */
  readonly parameters: PlanParameters;
}

/** The rates of a cluster. GPUs that share a port get equal parts of it. A measured rate also bounds the port. */
export function ratesOf(cluster: ClusterSpec, parameters: PlanParameters): GpuRates {
  const { accelerator: a, fabric } = cluster;
  const part = Math.min(1, cluster.portsPerHost / cluster.gpusPerHost);
  const flow = Math.min(fabric.achieved ?? fabric.line * parameters.flowShare, fabric.line * part);
  return {
    tensor: a.bf16 * parameters.tensorShare,
    fp8: a.fp8 * parameters.fp8Share,
    memory: a.memoryRate,
    units: a.units,
    host: { rate: a.hostLink * HOST_LINK_SHARE, latency: parameters.kernelFloor },
    flow: { rate: flow, latency: fabric.latency ?? parameters.messageLatency },
    port: Math.min(fabric.achieved ?? Infinity, fabric.line * part),
    allReducePort: flow * parameters.allReduceShare,
    gpusPerHost: cluster.gpusPerHost,
    parameters,
  };
}
