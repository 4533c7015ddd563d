/** Repeats: run in turns, reported as medians. */

/** The repeats of one measurement, in its unit. */
export interface Repeats {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order they ran. */
  readonly all: readonly number[];
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("median: found no value, expected at least one");
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Summarises repeats. */
export function repeatsOf(all: readonly number[]): Repeats {
  return { median: median(all), min: Math.min(...all), max: Math.max(...all), all };
}

/** a / b, or undefined if b measured nothing. */
export function ratio(a: number, b: number): number | undefined {
  return b > 0 && Number.isFinite(a) ? a / b : undefined;
}

/**
 * Runs each of `items` `repeats` times in turns, so that a machine that slows down slows all of them. Each round begins
 * with another item. Resolves to each item's results in the order they ran.
 */
export async function interleave<T, R>(
  items: readonly T[],
  repeats: number,
  run: (item: T, round: number) => Promise<R>,
  signal?: AbortSignal,
): Promise<R[][]> {
  const results = items.map((): R[] => []);
  for (let round = 0; round < repeats; round++) {
    for (let i = 0; i < items.length; i++) {
      signal?.throwIfAborted();
      const which = (round + i) % items.length;
      results[which].push(await run(items[which], round));
    }
  }
  return results;
}
