/** Colours of ranks, and names of lanes. Colour means a rank or a kind of time (kinds.ts), never decoration. */
import type { Lane } from "../../engine/run.ts";

/** CSS colour of a rank: Okabe-Ito up to 8 ranks, by position on the ring beyond. */
export function rankColour(rank: number, ranks: number): string {
  return ranks <= 8 ? `var(--rank-${rank})` : `oklch(0.74 0.13 ${Math.round((360 * rank) / ranks)})`;
}

/** CSS colour of a number on a rank's colour. */
export function onRankColour(rank: number, ranks: number): string {
  if (ranks > 8) return "#000";
  return rank === 4 ? "#fff" : rank === 7 ? "light-dark(#fff, #000)" : "#000";
}

/** Names of a rank's lanes. */
export const lanes: Readonly<Record<Lane, string>> = {
  device: "device",
  send: "send",
  receive: "receive",
  host: "host",
};
