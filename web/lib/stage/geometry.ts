/** Places on the ring: ranks on a circle from the top, clockwise as chunks travel. More ranks are smaller. */
import type { Place } from "./motion.ts";

/** A point of the picture, in the picture's pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Side of the square picture. */
export const SIZE = 400;
const centre = SIZE / 2;

/** Sizes for N ranks: radii of the circle of ranks, of the chunks' orbit inside it and of a rank; a chunk's side. */
export function sizes(
  ranks: number,
): { readonly ring: number; readonly orbit: number; readonly rank: number; readonly chunk: number } {
  const rank = Math.min(34, 360 / ranks);
  const ring = centre - rank - 6;
  const chunk = Math.min(24, 1.1 * rank);
  return { ring, orbit: ring - rank - 0.75 * chunk - 2, rank, chunk };
}

/**
 * Size in pixels of a rank's bold number within `width`. All numbers have the size that fits the largest of `ranks`; 0
 * if it would be too small to read.
 */
export function numberSize(width: number, ranks: number, most: number): number {
  // In wide fonts a bold digit is 0.7 times as wide as its size. Some room stays on either side.
  const size = Math.min(most, (0.85 * width) / (0.7 * String(Math.max(0, ranks - 1)).length));
  return size < 6.5 ? 0 : size;
}

/** The point at `radius`, `position` ranks clockwise from the top of a ring of N. */
export function onRing(position: number, ranks: number, radius: number): Point {
  const angle = (2 * Math.PI * position) / ranks - Math.PI / 2;
  return { x: centre + radius * Math.cos(angle), y: centre + radius * Math.sin(angle) };
}

/** The place of a chunk or parcel: a chunk moves along the orbit, a parcel straight across. */
export function pointOf({ kind, from, to, share }: Place, ranks: number): Point {
  const { orbit } = sizes(ranks);
  if (kind === "chunk") return onRing(from + (from === to ? 0 : share), ranks, orbit);
  const [a, b] = [onRing(from, ranks, orbit), onRing(to, ranks, orbit)];
  return { x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) };
}

/** The path of the orbit from rank `from` to the next. */
export function orbitPath(from: number, ranks: number): string {
  const { orbit } = sizes(ranks);
  const [a, b] = [onRing(from, ranks, orbit), onRing(from + 1, ranks, orbit)];
  return `M${a.x.toFixed(2)} ${a.y.toFixed(2)}A${orbit.toFixed(2)} ${orbit.toFixed(2)} 0 ${ranks === 1 ? 1 : 0} 1 ${
    b.x.toFixed(2)
  } ${b.y.toFixed(2)}`;
}

/** An arc around a point, clockwise from the top, `share` of the circle long. */
export function arcPath({ x, y }: Point, radius: number, share: number): string {
  const part = Math.min(0.9999, Math.max(0.0001, share));
  const angle = 2 * Math.PI * part - Math.PI / 2;
  return `M${x.toFixed(2)} ${(y - radius).toFixed(2)}A${radius} ${radius} 0 ${part > 0.5 ? 1 : 0} 1 ${
    (x + radius * Math.cos(angle)).toFixed(2)
  } ${(y + radius * Math.sin(angle)).toFixed(2)}`;
}
