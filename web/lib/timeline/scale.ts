/** The time axis: a linear scale with round ticks. */

/** A tick at `at` seconds. */
export interface Tick {
  readonly at: number;
  readonly label: string;
}

/** Seconds from `from` to `to` drawn from `left` to `left + width`. */
export interface Scale {
  readonly from: number;
  readonly to: number;
  readonly left: number;
  readonly width: number;
}

/** Seconds to pixels. */
export function toX({ from, to, left, width }: Scale, seconds: number): number {
  return left + ((seconds - from) / (to - from)) * width;
}

/** Pixels to seconds. */
export function toSeconds({ from, to, left, width }: Scale, x: number): number {
  return from + ((x - left) / width) * (to - from);
}

const units = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]] as const;

/** Ticks 1, 2 or 5 times a power of ten apart, at most `most` of them, all in one unit. */
export function ticks(
  from: number,
  to: number,
  most: number,
): { readonly unit: string; readonly ticks: readonly Tick[] } {
  const least = (to - from) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least * (1 - 1e-9)) ?? 10 * power;
  const [factor, unit] = units.find(([f]) => Math.max(Math.abs(from), Math.abs(to)) >= f * 0.9995) ?? units[3];
  const digits = Math.max(0, -Math.floor(Math.log10(step / factor) + 1e-9));
  const out: Tick[] = [];
  // Adding 0 makes a zero of a negative one.
  for (let i = Math.ceil(from / step - 1e-9) + 0; i * step <= to * (1 + 1e-12); i++) {
    out.push({ at: i * step, label: ((i * step) / factor).toFixed(digits) });
  }
  return { unit, ticks: out };
}
