/** Repeats: run in turns, told as medians. */

/** What repeats of one measurement showed, in the unit measured. */
export interface Repeats {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order they ran. */
  readonly all: readonly number[];
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("median: found no value, expected at least one");
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Sums repeats up. */
export function repeatsOf(all: readonly number[]): Repeats {
  return { median: median(all), min: Math.min(...all), max: Math.max(...all), all };
}

/** a / b, or undefined where b measured nothing. */
export function ratio(a: number, b: number): number | undefined {
  return b > 0 && Number.isFinite(a) ? a / b : undefined;
}

/**
 * Runs each of `variants` `repeats` times in turns, so that a machine that slows down slows all of them; each round
 * begins with another variant. Resolves to each variant's results in the order they ran.
 */
export async function interleave<V, R>(
  variants: readonly V[],
  repeats: number,
  run: (variant: V, round: number) => Promise<R>,
  signal?: AbortSignal,
): Promise<R[][]> {
  const results = variants.map((): R[] => []);
  for (let round = 0; round < repeats; round++) {
    for (let i = 0; i < variants.length; i++) {
      signal?.throwIfAborted();
      const which = (round + i) % variants.length;
      results[which].push(await run(variants[which], round));
    }
  }
  return results;
}
