/** A span in words: for its label, its details and the table. */
import type { Span } from "../../engine/run.ts";
import { formatBytes, formatCount, formatFlops, formatTime } from "../format/format.ts";
import { spanKinds } from "../format/kinds.ts";

/** The kind of a span. */
export function sayKind(span: Span): string {
  return spanKinds[span.kind].name;
}

/** The span's peer in words, or nothing. */
export function sayPeer(span: Span): string {
  if (span.kind === "all2all" && span.lane === "device") return "waits for all ranks";
  if (span.peer === undefined) return "";
  if (span.kind === "all2all") return `${span.lane === "receive" ? "from" : "to"} rank ${span.peer}`;
  return `${spanKinds[span.kind].peer ?? "from rank"} ${span.peer}`;
}

/** Bytes or work of a span with the rate, or nothing. */
export function sayAmount({ bytes, flops, duration }: Span): string {
  const rate = (amount: string) => (duration > 0 ? ` at ${amount}/s` : "");
  if (flops > 0) return `${formatFlops(flops)}${rate(formatFlops(flops / duration))}`;
  if (bytes > 0) return `${formatCount(bytes)} B${rate(formatBytes(bytes / duration))}`;
  return "";
}

/**
 * The whole span in one line: "rank 2, hop 1, attend chunk of rank 1, 2.71 ms from 12.4 ms, 120 MFLOP at 44.3 GFLOP/s".
 */
export function describe(span: Span): string {
  const what = [sayKind(span), sayPeer(span)].filter((word) => word !== "").join(" ");
  return [
    `rank ${span.rank}`,
    `hop ${span.hop}`,
    what,
    `${formatTime(span.duration)} from ${formatTime(span.start)}`,
    sayAmount(span),
  ].filter((part) => part !== "").join(", ");
}
