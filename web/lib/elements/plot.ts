/** Parts of charts: logarithmic axes, round ticks, labels that keep their distance. */
import { svg, type SVGTemplateResult } from "lit";

/** Values from `from` to `to` drawn from pixel `start` to pixel `end`, in equal steps of their logarithm. */
export interface LogScale {
  readonly from: number;
  readonly to: number;
  readonly start: number;
  readonly end: number;
}

/** A value's pixel. */
export function place({ from, to, start, end }: LogScale, value: number): number {
  return start + (Math.log(value / from) / Math.log(to / from)) * (end - start);
}

/** A pixel's value. */
export function valueAt({ from, to, start, end }: LogScale, pixel: number): number {
  return from * (to / from) ** ((pixel - start) / (end - start));
}

/** Round values of a scale: 1, 2 and 5 times powers of ten if each has `room` pixels, or else powers of ten. */
export function logTicks(scale: LogScale, room: number): number[] {
  const decade = Math.abs(place(scale, scale.from * 10) - scale.start);
  const steps = decade * 0.3 >= room ? [1, 2, 5] : decade * 0.47 >= room ? [1, 3] : [1];
  const out: number[] = [];
  for (let power = Math.floor(Math.log10(scale.from)); power <= Math.ceil(Math.log10(scale.to)); power++) {
    for (const step of steps) {
      const value = Number(`${step}e${power}`);
      if (value >= scale.from * 0.999 && value <= scale.to * 1.001) out.push(value);
    }
  }
  return out;
}

/** Moves labels apart, keeping their order, so that each has `room` pixels, within `least` to `most`. */
export function spread(wanted: readonly number[], room: number, least: number, most: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const at = [...wanted];
  let free = least;
  for (const i of order) {
    at[i] = Math.max(at[i], free);
    free = at[i] + room;
  }
  let limit = most;
  for (const i of order.toReversed()) {
    at[i] = Math.min(at[i], limit);
    limit = at[i] - room;
  }
  return at;
}

/** An SVG path through points. */
export function path(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** Grid lines, numbers and titles of both axes. */
export function axes(
  x: LogScale,
  y: LogScale,
  say: {
    readonly x: (value: number) => string;
    readonly y: (value: number) => string;
    readonly xTitle: string;
    readonly yTitle: string;
  },
  xs: readonly number[] = logTicks(x, 44),
  ys: readonly number[] = logTicks(y, 20),
): SVGTemplateResult {
  return svg`<g aria-hidden="true">
    ${
    xs.map((value) =>
      svg`
        <line class="grid" x1=${place(x, value)} x2=${place(x, value)} y1=${y.end} y2=${y.start} />
        <text class="tick" x=${place(x, value)} y=${y.start + 18}>${say.x(value)}</text>
      `
    )
  }
    ${
    ys.map((value) =>
      svg`
        <line class="grid" x1=${x.start} x2=${x.end} y1=${place(y, value)} y2=${place(y, value)} />
        <text class="tick side" x=${x.start - 8} y=${place(y, value) + 4}>${say.y(value)}</text>
      `
    )
  }
    <line class="rule" x1=${x.start} x2=${x.end} y1=${y.start} y2=${y.start} />
    <text class="axis-title" x=${x.end} y=${y.start + 36} text-anchor="end">${say.xTitle}</text>
    <text class="axis-title" x="0" y="12">${say.yTitle}</text>
  </g>`;
}

/** Tokens as the paper writes them: "128K", "1M"; K is 1,000. */
export function sayTokens(tokens: number): string {
  if (tokens >= 1e6) return `${Number((tokens / 1e6).toPrecision(3))}M`;
  return tokens >= 1000 ? `${Number((tokens / 1000).toPrecision(3))}K` : String(tokens);
}

/** Seconds on an axis: "500 ms", "20 s". */
export function sayTick(seconds: number): string {
  return seconds >= 1
    ? `${Number(seconds.toPrecision(3))} s`
    : seconds >= 1e-3
    ? `${Number((seconds * 1e3).toPrecision(3))} ms`
    : `${Number((seconds * 1e6).toPrecision(3))} µs`;
}
