/** One rank's part of one attention: picks the ring program and runs it on a device. */
import type { Variant } from "../cluster/types.ts";
import type { Attention, Ring } from "../ring/contract.ts";
import { passKv } from "../ring/pass-kv.ts";
import { passQ } from "../ring/pass-q.ts";
import type { Span } from "../trace/span.ts";
import type { RankChunk } from "./chunk.ts";

/** A back-end of the contract that can hand out its final result and give its memory back. */
export interface Device<Q, KV, P> extends Attention<RankChunk, Q, KV, P> {
  /** Names of the attention kernels that ran. */
  readonly used: readonly string[];
  /** O and LSE as one buffer (see RankChunk). */
  result(partial: P): Promise<ArrayBuffer>;
  /** `failed`: work may still be under way. */
  dispose(failed: boolean): void;
}

/** This rank's shard. */
export interface Shard {
  readonly variant: Variant;
  readonly q: RankChunk;
  readonly kv: RankChunk;
}

/** O and LSE of this rank's query rows. */
export async function runAttend<Q, KV, P>(shard: Shard, ring: Ring<RankChunk>, device: Device<Q, KV, P>): Promise<ArrayBuffer> {
  let failed = true;
  try {
    const partial = shard.variant === "pass-kv"
      ? await passKv(ring, device, device.loadQueries(shard.q, 0), shard.kv)
      : await passQ(ring, device, shard.q, device.loadKeys(shard.kv, 0));
    const result = await device.result(partial);
    failed = false;
    return result;
  } finally {
    device.dispose(failed);
  }
}

/** Spans in which the device waited for a chunk: from the end of a hop's attention to the arrival that the next hop needs. */
export function exposedWaits(spans: readonly Span[]): Span[] {
  const arrivals = new Map(spans.filter((s) => s.kind === "receive").map((s) => [s.hop, s]));
  return spans.filter((s) => s.kind === "attend").flatMap((attend) => {
    const arrival = arrivals.get(attend.hop);
    if (arrival === undefined) return [];
    const start = attend.start + attend.duration;
    const duration = arrival.start + arrival.duration - start;
    return duration > 0 ? [{ ...arrival, lane: "device", kind: "wait", start, duration } satisfies Span] : [];
  });
}
