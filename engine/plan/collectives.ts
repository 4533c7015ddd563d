/** Time of the collectives: a ring's transfer, pass-Q's All2All, and tensor parallelism's all-reduce. */
import type { Rates, Wire } from "./rates.ts";

/** One ring transfer alone on its link: `latency + bytes / rate`. */
export function transferTime(bytes: number, wire: Wire): number {
  return wire.latency + bytes / wire.rate;
}

/**
 * pass-Q's All2All at one rank: a parcel to each of `near` ranks of the same host and `far` ranks elsewhere, started
 * together.
 * Far parcels share the port, and no one of them is faster than a single flow: `max(parcel / flow, far parcel / port)`.
 * O and LSE are two messages to each peer; launched one by one each takes its latency, `2 peers latency`; a CUDA graph
 * launches them all at once: `2 latency`.
 */
export function all2allTime(parcelBytes: number, near: number, far: number, rates: Rates, graph: boolean): number {
  if (near + far === 0) return 0;
  const fabric = far === 0 ? 0 : Math.max(parcelBytes / rates.flow.rate, (far * parcelBytes) / rates.port);
  const host = (near * parcelBytes) / rates.host.rate;
  const latency = graph
    ? 2 * (far > 0 ? rates.flow : rates.host).latency
    : 2 * (far * rates.flow.latency + near * rates.host.latency);
  return latency + Math.max(fabric, host);
}

/**
 * An all-reduce of `bytes` over `tp` GPUs as a ring: `2 (tp-1)/tp bytes / bus bandwidth` (nccl-tests' PERFORMANCE.md).
 * In a host the bus is its link; between hosts a rail a GPU of a host, and a message latency a doubling of hosts on top
 * (short messages go down a tree).
 */
export function allReduceTime(bytes: number, tp: number, rates: Rates): number {
  if (tp === 1) return 0;
  const hosts = Math.ceil(tp / rates.gpusPerHost);
  const bus = hosts === 1 ? rates.host.rate : Math.min(rates.host.rate, rates.gpusPerHost * rates.allReducePort);
  const latency = rates.parameters.kernelFloor + Math.ceil(Math.log2(hosts)) * rates.flow.latency;
  return latency + ((2 * (tp - 1)) / tp) * (bytes / bus);
}
