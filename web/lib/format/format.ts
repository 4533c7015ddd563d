/** Writes numbers for people, always with a unit. */

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A whole number: "1,536". */
export function formatCount(value: number): string {
  return Number.isFinite(value) ? grouped.format(value) : String(value);
}

/** Three significant digits, without an exponent. */
function short(value: number): string {
  if (value >= 100 || value === 0) return grouped.format(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const [factor, unit] = units.find(([f]) => value >= f * 0.9995) ?? units[units.length - 1];
  return `${short(value / factor)} ${unit}`;
}

/** A measured time, three digits: "12.3 ms". */
export function formatTime(seconds: number): string {
  if (seconds === 0) return "0 s";
  return scaled(seconds, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]]);
}

/** Bytes, three digits, powers of ten: "131 kB". */
export function formatBytes(bytes: number): string {
  return bytes < 1000
    ? `${grouped.format(bytes)} B`
    : scaled(bytes, [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]);
}

/** Floating-point operations, three digits: "1.87 GFLOP". */
export function formatFlops(flops: number): string {
  return scaled(flops, [[1e15, "PFLOP"], [1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"], [1e3, "kFLOP"], [1, "FLOP"]]);
}

/** An error: "3.6e-7", "0", "infinite". */
export function formatError(value: number): string {
  if (value === 0) return "0";
  return Number.isFinite(value) ? value.toExponential(1) : "infinite";
}

/** A share: "25 %", "12.5 %". */
export function formatShare(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}

function exact(value: number, units: readonly (readonly [number, string])[]): string {
  const [factor, unit] = units.find(([f]) => value >= f) ?? units[units.length - 1];
  return `${Number((value / factor).toPrecision(12))} ${unit}`;
}

/** A given rate, exactly: "50 GB/s". */
export function formatRate(bytesPerSecond: number): string {
  return exact(bytesPerSecond, [[1e12, "TB/s"], [1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [1, "B/s"]]);
}

/** A given time, exactly: "5 µs". */
export function formatSeconds(seconds: number): string {
  return seconds === 0 ? "0 µs" : exact(seconds, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]]);
}

/** A rate of computation, three digits: "496 TFLOP/s". */
export function formatFlopRate(flopsPerSecond: number): string {
  return `${formatFlops(flopsPerSecond)}/s`;
}
