/** What of a block of the mask its queries see, as areas to fill: x counts keys, y counts queries, downwards. */
import { isLocal, type Mask, sinkTokensOf } from "../../engine/run.ts";

/** Positions `start <= p < end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** A corner, as shares of the block's width and height. */
export type Corner = readonly [x: number, y: number];

/** The corners of an area, in order. */
export type Area = readonly Corner[];

/** More chunks than this in one block are too small to see: a band of their mean width stands for them. */
const MOST_CHUNKS = 32;

/**
 * The areas of a block that `mask` lets through: query p sees key k in the square from (k, p) to (k+1, p+1), and stairs
 * along an edge are a slope through the middle of their steps.
 */
export function areasOf(mask: Mask, queries: Range, keys: Range): Area[] {
  const whole: Area = [
    [keys.start, queries.start],
    [keys.end, queries.start],
    [keys.end, queries.end],
    [keys.start, queries.end],
  ];
  const upTo = (area: Area) => keep(area, ([x, y]) => y - x);
  const within = (area: Area, { start, end }: Range) => keep(keep(area, ([x]) => x - start), ([x]) => end - x);
  const from = (area: Area, { start, end }: Range) => keep(keep(area, ([, y]) => y - start), ([, y]) => end - y);
  const window = (size: number) => keep(upTo(whole), ([x, y]) => x - y + size);
  const near = (): Area[] => {
    if (!isLocal(mask)) return [mask.kind === "full" ? whole : upTo(whole)];
    if (mask.kind === "window") return [window(mask.size)];
    const { size } = mask;
    const first = Math.floor(Math.max(queries.start, keys.start) / size);
    const last = Math.floor((Math.min(queries.end, keys.end) - 1) / size);
    if (last - first >= MOST_CHUNKS) return [window(size / 2)];
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => {
      const chunk = { start: (first + i) * size, end: (first + i + 1) * size };
      return upTo(from(within(whole, chunk), chunk));
    });
  };
  // A few sink tokens would be too narrow to see.
  const sinks = isLocal(mask) && sinkTokensOf(mask) > keys.start
    ? [upTo(within(whole, { start: 0, end: Math.max(sinkTokensOf(mask), keys.start + (keys.end - keys.start) / 6) }))]
    : [];
  return [...sinks, ...near()].filter((area) => sizeOf(area) > 0).map((area) =>
    area.map(([x, y]): Corner => [
      (x - keys.start) / (keys.end - keys.start),
      (y - queries.start) / (queries.end - queries.start),
    ])
  );
}

/** An area's size. */
export function sizeOf(area: Area): number {
  return Math.abs(area.reduce((sum, [x, y], i) => {
    const [u, v] = area[(i + 1) % area.length];
    return sum + (x * v - u * y) / 2;
  }, 0));
}

/** The mean of an area's corners, which lies inside it. */
export function middleOf(area: Area): Corner {
  const mean = (axis: 0 | 1) => area.reduce((sum, corner) => sum + corner[axis], 0) / area.length;
  return [mean(0), mean(1)];
}

/** The part of an area in which `side`, linear, is at least 0. */
function keep(area: Area, side: (corner: Corner) => number): Area {
  return area.flatMap((corner, i): Corner[] => {
    const next = area[(i + 1) % area.length];
    const [a, b] = [side(corner), side(next)];
    const at = a / (a - b);
    const cut: Corner[] = a * b < 0
      ? [[corner[0] + at * (next[0] - corner[0]), corner[1] + at * (next[1] - corner[1])]]
      : [];
    return a >= 0 ? [corner, ...cut] : cut;
  });
}
