/** One rank's part of one attention: picks the ring program and runs it on a back-end. */
import type { Block } from "../layout/shards.ts";
import type { Attention, Ring } from "../ring/contract.ts";
import { decode } from "../ring/decode.ts";
import { passKv } from "../ring/pass-kv.ts";
import { passQ } from "../ring/pass-q.ts";
import type { Span } from "../trace/span.ts";
import type { KvCache } from "./cache.ts";
import type { RankChunk, Rows, Workload } from "../ring/chunk.ts";
import type { AttendJob, StepJob } from "./job.ts";

/** A back-end of the contract that can also hand out its result, compile ahead, stop early and free its memory. */
export interface Device<Q, KV, P> extends Attention<RankChunk, Q, KV, P> {
  /** Names of the attention kernels that ran. */
  readonly used: readonly string[];
  /** Copies O and LSE of some rows of a partial into one buffer (see RankChunk). */
  copy(hop: number, partial: P, rows: readonly Rows[]): Promise<ArrayBuffer>;
  /** O and LSE of a partial as one buffer (see RankChunk). */
  result(partial: P): Promise<ArrayBuffer>;
  /** Frees its memory. `failed`: work may still be under way. Further calls do nothing. */
  dispose(failed: boolean): void;
  /**
   * Compiles what this rank's part of a run needs.
   */
  prepare(work: Workload): Promise<void>;
  /** Makes the work under way, and all that would follow, reject with `reason`. */
  abandon(reason: unknown): void;
}

/** One attention on this rank's chunks. */
export async function runAttend<Q, KV, P>(
  { variant, q, kv }: Pick<AttendJob, "variant" | "q" | "kv">,
  ring: Ring<RankChunk>,
  device: Device<Q, KV, P>,
): Promise<ArrayBuffer> {
  return await resultOf(
    device,
    () =>
      variant === "pass-kv"
        ? passKv(ring, device, device.loadQueries(q, 0), kv)
        : passQ(ring, device, q, device.loadKeys(kv, 0)),
  );
}

/** One step of a session. Its rows are in the cache already. `leaving`: the rows that others need; all if undefined. */
export async function runStep<Q, KV, P>(
  job: StepJob,
  ring: Ring<RankChunk> & { readonly leaving?: Block | undefined },
  device: Device<Q, KV, P>,
  cache: KvCache<KV>,
): Promise<ArrayBuffer> {
  return await resultOf(device, async () => {
    const kv = cache.keys(job.sequences);
    if (job.variant === "pass-q") return await decode(ring, device, job.q, kv);
    const leaving = ring.leaving ?? cache.padded(job.sequences, job.lengths);
    const own = ring.size === 1 ? job.q : await cache.message(leaving);
    return await passKv(ring, device, device.loadQueries(job.q, 0), own, kv);
  });
}

/** Runs a ring program and takes its result off the device. Always frees the device's memory. */
async function resultOf<P>(
  device: Pick<Device<unknown, unknown, P>, "result" | "dispose">,
  program: () => Promise<P>,
): Promise<ArrayBuffer> {
  let failed = true;
  try {
    const result = await device.result(await program());
    failed = false;
    return result;
  } finally {
    device.dispose(failed);
  }
}

/**
 * The spans in which the device waited for a chunk: from the end of a hop's attention to the arrival that the next hop
 * needs. They are `late` until its sender sent it, then `wait` while it was on the link.
 */
export function exposedWaits(spans: readonly Span[]): Span[] {
  const arrivals = spans.filter((s) => s.kind === "receive").sort((a, b) => a.hop - b.hop);
  const ends = new Map<number, number>();
  // A hop's attention may be several spans: one for each slice.
  for (const { kind, hop, start, duration } of spans) {
    if (kind === "attend") ends.set(hop, Math.max(ends.get(hop) ?? -Infinity, start + duration));
  }
  const hops = [...ends.keys()].sort((a, b) => a - b);
  return arrivals.flatMap((arrival) => {
    // A hop in which no query sees a key has no attention: the device was free since the one before.
    const hop = hops.findLast((one) => one <= arrival.hop);
    if (hop === undefined) return [];
    const before = arrivals.filter((one) => one.hop >= hop && one.hop < arrival.hop).map((a) => a.start + a.duration);
    return idleSpans(arrival, Math.max(ends.get(hop)!, ...before), arrival.start, arrival.start + arrival.duration);
  });
}

/** A rank's idle time from `start` to `end`: before and after `sentAt`, when the awaited chunk was sent. */
export function idleSpans(of: Span, start: number, sentAt: number, end: number): Span[] {
  const sent = Math.max(start, Math.min(end, sentAt));
  const spans: Span[] = [{ ...of, lane: "device", kind: "late", start, duration: sent - start, bytes: 0 }, {
    ...of,
    lane: "device",
    kind: "wait",
    start: sent,
    duration: end - sent,
  }];
  return spans.filter(({ duration }) => duration > 0);
}
