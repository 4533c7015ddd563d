/** One rank's part of one attention: picks the ring program and runs it on a device. */
import type { Attention, Ring } from "../ring/contract.ts";
import { decode } from "../ring/decode.ts";
import { passKv } from "../ring/pass-kv.ts";
import { passQ } from "../ring/pass-q.ts";
import type { Span } from "../trace/span.ts";
import type { KvCache } from "./cache.ts";
import type { Plan, RankChunk, Rows } from "../ring/chunk.ts";
import type { AttendJob, StepJob } from "./job.ts";

/** A back-end of the contract that can hand out its final result and give its memory back. */
export interface Device<Q, KV, P> extends Attention<RankChunk, Q, KV, P> {
  /** Names of the attention kernels that ran. */
  readonly used: readonly string[];
  /** O and LSE of some rows of a partial, which stays as it is, as one buffer (see RankChunk). */
  copy(hop: number, partial: P, rows: readonly Rows[]): Promise<ArrayBuffer>;
  /** O and LSE as one buffer (see RankChunk). */
  result(partial: P): Promise<ArrayBuffer>;
  /** `failed`: work may still be under way. Once it was called, further calls do nothing. */
  dispose(failed: boolean): void;
  /**
   * Compiles what this rank's part of a run needs, from the rows that it holds: `parts` partial results are merged at
   * its end.
   */
  prepare(plan: Plan): Promise<void>;
  /** Makes what is under way, and what would follow, end in `reason`. */
  abandon(reason: unknown): void;
}

/** One attention on chunks that this rank was given. */
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

/** One step of a session, whose rows have been appended to the cache. */
export async function runStep<Q, KV, P>(
  job: StepJob,
  ring: Ring<RankChunk>,
  device: Device<Q, KV, P>,
  cache: KvCache<KV>,
): Promise<ArrayBuffer> {
  return await resultOf(device, async () => {
    const kv = cache.keys(job.sequences);
    if (job.variant === "pass-q") return await decode(ring, device, job.q, kv);
    const own = ring.size === 1 ? job.q : await cache.message(job.sequences, job.lengths);
    return await passKv(ring, device, device.loadQueries(job.q, 0), own, kv);
  });
}

/** Runs a ring program and takes its result off the device, which is given back whatever happens. */
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
 * Spans in which the device waited for a chunk: from the end of a hop's attention to the arrival that the next hop
 * needs; `late` until its sender sent it, `wait` while it was on the link.
 */
export function exposedWaits(spans: readonly Span[]): Span[] {
  const arrivals = new Map(spans.filter((s) => s.kind === "receive").map((s) => [s.hop, s]));
  const ends = new Map<number, number>();
  // A hop's attention may be several spans: one for each slice.
  for (const { kind, hop, start, duration } of spans) {
    if (kind === "attend") ends.set(hop, Math.max(ends.get(hop) ?? -Infinity, start + duration));
  }
  return [...ends].flatMap(([hop, start]) => {
    const arrival = arrivals.get(hop);
    if (arrival === undefined) return [];
    return idleSpans(arrival, start, arrival.start, arrival.start + arrival.duration);
  });
}

/** A rank's idle time from `start` to `end`, before and after `sentAt`, at which what it awaits was sent. */
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
