/** Bytes per link and work per rank, from a run's report and mask. */
import type { MaskPicture, Report, Span } from "../../engine/run.ts";
import { formatCount, formatShare } from "../format/format.ts";
import type { Motion, WholeBytes } from "./motion.ts";

/** A link of the ring, with its sending rank's part in the All2All. */
export interface LinkTraffic {
  /** The sending rank. */
  readonly rank: number;
  readonly to: number;
  /** Chunks sent over it, and their bytes with padding. */
  readonly messages: number;
  readonly bytes: number;
  /** Seconds with a chunk on it. */
  readonly busy: number;
  /** Bytes of partial results that the rank sends to all others at the end. */
  readonly exchanged: number;
}

/** The ring's links, as the ranks counted what they sent. */
export function linksOf({ perRank, ranks }: Pick<Report, "perRank" | "ranks">, { journeys }: Motion): LinkTraffic[] {
  if (ranks === 1) return [];
  const flights = journeys.flat();
  return perRank.map(({ rank, ring, all2all }) => ({
    rank,
    to: (rank + 1) % ranks,
    messages: ring.messages,
    bytes: ring.bytes,
    exchanged: all2all.bytes,
    busy: flights.filter(({ from }) => from === rank).reduce((sum, { start, end }) => sum + end - start, 0),
  }));
}

/** Bytes of messages of which nothing is left out: every rank's rows, padded to those of the rank with the most. */
export function wholeBytesOf(
  { shape, wireDtype, variant }: Pick<Report, "shape" | "wireDtype" | "variant">,
  { queries, keys, pairs: ranks }: MaskPicture,
): WholeBytes {
  const { sequences, heads, kvHeads, headDim: D, valueDim: Dv, valuesInKeys } = shape;
  const rowsOf = (chunks: MaskPicture["keys"]) =>
    sequences.reduce((sum, _, sequence) => {
      const held = ranks.map((_, rank) =>
        chunks.filter((chunk) => chunk.sequence === sequence && chunk.owner === rank)
          .reduce((rows, { start, end }) => rows + end - start, 0)
      );
      return sum + Math.max(...held);
    }, 0);
  // The engine's rowBytes would add its conversions of 16-bit numbers to the first page.
  const [rows, numbers] = variant === "pass-kv"
    ? [rowsOf(keys), kvHeads * (valuesInKeys ? D : D + Dv)]
    : [rowsOf(queries), heads * D];
  return { chunk: rows * numbers * (wireDtype === "f32" ? 4 : 2), parcel: rowsOf(queries) * heads * (Dv + 1) * 4 };
}

/** What the mask made needless: "24 of 64 hops, 40 of 56 messages, 62 % of the bytes"; undefined if nothing. */
export function saySkipped({ skipped, perRank, ranks }: Pick<Report, "skipped" | "perRank" | "ranks">) {
  if (skipped.hops + skipped.messages + skipped.bytes === 0) return undefined;
  const sum = (of: (rank: Report["perRank"][number]) => number) => perRank.reduce((total, rank) => total + of(rank), 0);
  const of = (part: number, rest: number) => `${formatCount(part)} of ${formatCount(part + rest)}`;
  const bytes = skipped.bytes / Math.max(1, skipped.bytes + sum(({ bytesSent }) => bytesSent));
  return `${of(skipped.hops, ranks ** 2 - skipped.hops)} hops, ${
    of(skipped.messages, sum(({ messages }) => messages))
  } messages, ${formatShare(bytes)} of the bytes`;
}

/** FLOPs of each rank's attention, from its spans. */
export function workOf(spans: readonly Span[], ranks: number): number[] {
  const work = new Array<number>(ranks).fill(0);
  for (const { rank, kind, flops } of spans) if (kind === "attend") work[rank] += flops;
  return work;
}

/** The busiest rank's work divided by the mean; 1 if there is no work. */
export function imbalance(pairs: MaskPicture["pairs"]): number {
  const sum = pairs.reduce((a, b) => a + b, 0);
  return sum === 0 ? 1 : (Math.max(...pairs) * pairs.length) / sum;
}

/** The figures that a comparison of the variants shows. */
export interface Outcome {
  /** Seconds from the first span of the ring to its last. */
  readonly ring: number;
  /** Seconds by kind, each of the slowest rank. */
  readonly times: Report["times"];
  /** Bytes that all ranks sent: around the ring, and in the All2All. */
  readonly ringBytes: number;
  readonly all2allBytes: number;
  readonly messages: number;
}

/** The cost of a run. */
export function outcomeOf({ perRank, times }: Pick<Report, "perRank" | "times">, { from, end }: Motion): Outcome {
  const sum = (of: (rank: Report["perRank"][number]) => number) => perRank.reduce((total, rank) => total + of(rank), 0);
  return {
    ring: end - from,
    times,
    ringBytes: sum(({ ring }) => ring.bytes),
    all2allBytes: sum(({ all2all }) => all2all.bytes),
    messages: sum(({ messages }) => messages),
  };
}
