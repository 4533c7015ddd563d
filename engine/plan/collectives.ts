/** The time of a ring transfer, of pass-Q's All2All, and of tensor parallelism's all-reduce. */
import type { GpuRates, Wire } from "./rates.ts";

/** Seconds of one ring transfer alone on its link: `latency + bytes / rate`. */
export function transferTime(bytes: number, wire: Wire): number {
  return wire.latency + bytes / wire.rate;
}

/** Parcels that leave a rank at the same time. */
export interface Parcels {
  readonly count: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** Bytes of the largest. */
  readonly largest: number;
}

/** Seconds of pass-Q's All2All at one rank, with equal parcels for `near` ranks of its host and `far` ranks elsewhere. */
export function all2allTime(parcelBytes: number, near: number, far: number, rates: GpuRates, graph: boolean): number {
  const equal = (count: number): Parcels => ({ count, bytes: count * parcelBytes, largest: parcelBytes });
  return parcelsTime(equal(near), equal(far), rates, graph);
}

/**
 * Seconds in which a rank sends parcels to ranks of its host (`near`) and elsewhere (`far`), all at the same time.
 *
 * Far parcels share the port, and none is faster than a single flow: `max(largest / flow, far bytes / port)`. O and LSE
 * are two messages to each peer. Launched one by one, each pays its latency: `2 peers latency`. A CUDA graph launches
 * all of them at once: `2 latency`.
 */
export function parcelsTime(near: Parcels, far: Parcels, rates: GpuRates, graph: boolean): number {
  if (near.count + far.count === 0) return 0;
  const fabric = far.count === 0 ? 0 : Math.max(far.largest / rates.flow.rate, far.bytes / rates.port);
  const host = near.bytes / rates.host.rate;
  const latency = graph
    ? 2 * (far.count > 0 ? rates.flow : rates.host).latency
    : 2 * (far.count * rates.flow.latency + near.count * rates.host.latency);
  return latency + Math.max(fabric, host);
}

/**
 * Seconds of an all-reduce of `bytes` over `tp` GPUs as a ring: `2 (tp-1)/tp bytes / bus bandwidth` (nccl-tests'
 * PERFORMANCE.md). In a host, the bus is the host link. Between hosts, it is one rail for each GPU of a host; each
 * doubling of hosts then adds a message latency, because short messages go down a tree.
 */
export function allReduceTime(bytes: number, tp: number, rates: GpuRates): number {
  if (tp === 1) return 0;
  const hosts = Math.ceil(tp / rates.gpusPerHost);
  const bus = hosts === 1 ? rates.host.rate : Math.min(rates.host.rate, rates.gpusPerHost * rates.allReducePort);
  const latency = rates.parameters.kernelFloor + Math.ceil(Math.log2(hosts)) * rates.flow.latency;
  return latency + ((2 * (tp - 1)) / tp) * (bytes / bus);
}
