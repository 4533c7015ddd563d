/** Reads counts, rates and times as people type them. Each function returns NaN for a text that it can't read. */
import { readCount, readRate } from "../../engine/run.ts";

/** Without the separators that the page writes: "1,536". */
const bare = (text: string): string => text.trim().replaceAll(/(?<=\d)[, ]+(?=\d)/g, "");

/** A whole number, with or without separators and multiples: "1,536", "128k", "128_000". */
export function parseCount(text: string): number {
  const value = readCount(bare(text));
  return value !== undefined && value >= 0 && Number.isSafeInteger(value) ? value : NaN;
}

/** Bytes per second: "50 GB/s", "5e10"; or bits if named: "400 Gbit/s", "1Gbps". */
export function parseRate(text: string): number {
  return readRate(bare(text)) ?? NaN;
}

/** The power of ten of each unit. It moves the decimal before parsing: "993.353 ms" is 0.993353 to the last bit. */
const units: Readonly<Record<string, number>> = { "": 0, s: 0, ms: -3, us: -6, "µs": -6, ns: -9 };
const time = /^(\d+(?:_\d+)*(?:\.\d+)?|\.\d+)(?:e([+-]?\d+))?\s*([a-zµμ]*)$/i;

/** Seconds: "5 µs", "1.5 ms", "2". */
export function parseSeconds(text: string): number {
  const match = time.exec(bare(text));
  // Some keyboards have the Greek letter instead of the micro sign.
  const unit = match?.[3].replace("μ", "µ");
  if (match === null || unit === undefined || !Object.hasOwn(units, unit)) return NaN;
  return Number(`${match[1].replaceAll("_", "")}e${Number(match[2] ?? 0) + units[unit]}`);
}
