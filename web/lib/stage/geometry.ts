/**
 * Where things lie on the ring: ranks on a circle from the top, clockwise as chunks go round; sizes shrink as ranks
 * grow many.
 */
import type { Place } from "./motion.ts";

/** A point of the picture, in its own pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Side of the square picture. */
export const SIZE = 400;
const centre = SIZE / 2;

/**
 * Radii and sizes for N ranks: of the circle of ranks, of the chunks' orbit within it, of a rank, of a chunk's side.
 */
export function sizes(
  ranks: number,
): { readonly ring: number; readonly orbit: number; readonly rank: number; readonly chunk: number } {
  const rank = Math.min(34, 360 / ranks);
  const ring = centre - rank - 6;
  const chunk = Math.min(24, 1.1 * rank);
  return { ring, orbit: ring - rank - 0.75 * chunk - 2, rank, chunk };
}

/**
 * Size in pixels of the bold number of a rank that fits `width`: as large as the largest of `ranks` ranks needs; 0
 * where it could not be read.
 */
export function numberSize(width: number, ranks: number, most: number): number {
  // A bold digit is 0.7 of its size wide in wide fonts; some room stays on either side.
  const size = Math.min(most, (0.85 * width) / (0.7 * String(Math.max(0, ranks - 1)).length));
  return size < 6.5 ? 0 : size;
}

/** A point at `radius` on the way of `position` ranks round a ring of N; 0 is the top. */
export function onRing(position: number, ranks: number, radius: number): Point {
  const angle = (2 * Math.PI * position) / ranks - Math.PI / 2;
  return { x: centre + radius * Math.cos(angle), y: centre + radius * Math.sin(angle) };
}

/** Where a chunk or a parcel is drawn: a chunk goes along the orbit, a parcel straight across. */
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

/** An arc round a point from the top, clockwise, as long as `share` of its circle. */
export function arcPath({ x, y }: Point, radius: number, share: number): string {
  const part = Math.min(0.9999, Math.max(0.0001, share));
  const angle = 2 * Math.PI * part - Math.PI / 2;
  return `M${x.toFixed(2)} ${(y - radius).toFixed(2)}A${radius} ${radius} 0 ${part > 0.5 ? 1 : 0} 1 ${
    (x + radius * Math.cos(angle)).toFixed(2)
  } ${(y + radius * Math.sin(angle)).toFixed(2)}`;
}
