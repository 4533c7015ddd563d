/** Formats bytes, seconds, rates and counts for people, with a unit and three significant digits. */

const BYTES: readonly (readonly [number, string])[] = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
const SECONDS: readonly (readonly [number, string])[] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]];
const RATES: readonly (readonly [number, string])[] = [[1e12, "TFLOP/s"], [1e9, "GFLOP/s"], [1e6, "MFLOP/s"]];

/** Bytes in powers of 1000, e.g. `16.4 MB`. */
export function bytesText(bytes: number): string {
  return scaled(bytes, BYTES, "B");
}

/** Seconds, e.g. `627 µs`. */
export function secondsText(seconds: number): string {
  return scaled(seconds, SECONDS, "s");
}

/** FLOP/s, e.g. `518 TFLOP/s`. */
export function flopsText(rate: number): string {
  return scaled(rate, RATES, "FLOP/s");
}

/** A count with thousands separators, e.g. `128,000`. */
export function countText(count: number): string {
  return Math.round(count).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A share in percent, e.g. `2.5 %`. */
export function percentText(share: number): string {
  return `${digits(share * 100)} %`;
}

/** Three significant digits without an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  return size >= 2 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}

function scaled(value: number, units: readonly (readonly [number, string])[], smallest: string): string {
  if (value === 0) return `0 ${smallest}`;
  for (const [size, unit] of units) if (Math.abs(value) >= size) return `${digits(value / size)} ${unit}`;
  const [size, unit] = units[units.length - 1];
  return smallest === "B" ? `${digits(value)} B` : `${digits(value / size)} ${unit}`;
}
