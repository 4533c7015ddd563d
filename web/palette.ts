/** Colour means a rank or a kind of time, never decoration: which token is whose. */
import type { Kind, Lane } from "./engine.ts";

/** What a span is counted as. */
export type TimeKind = "attend" | "transfer" | "wait" | "merge" | "other";

/** The kinds of time in the order of the legend, with what a person reads. */
export const timeKinds: Readonly<Record<TimeKind, string>> = {
  attend: "attend",
  transfer: "transfer",
  wait: "wait",
  merge: "merge",
  other: "compile, upload or download",
};

/** The kind of time of a span. A device in All2All has sent its own parcels and waits for those of the others. */
export function timeKind({ kind, lane }: { readonly kind: Kind; readonly lane: Lane }): TimeKind {
  if (kind === "all2all" && lane === "device") return "wait";
  if (kind === "attend" || kind === "wait" || kind === "merge") return kind;
  return kind === "send" || kind === "receive" || kind === "all2all" || kind === "allreduce" ? "transfer" : "other";
}

/** CSS colour of a rank: Okabe-Ito up to 8 ranks, by position on the ring beyond. */
export function rankColour(rank: number, ranks: number): string {
  return ranks <= 8 ? `var(--rank-${rank})` : `oklch(0.74 0.13 ${Math.round((360 * rank) / ranks)})`;
}

/** CSS colour of the number on a rank's colour. */
export function onRankColour(rank: number, ranks: number): string {
  if (ranks > 8) return "#000";
  return rank === 4 ? "#fff" : rank === 7 ? "light-dark(#fff, #000)" : "#000";
}

/** What the lanes of a rank are called. */
export const lanes: Readonly<Record<Lane, string>> = { device: "device", send: "send", receive: "receive", host: "host" };
