/**
 * Repeatable noise: an integer hash gives a factor for each (seed, rank, hop, what), so a plan with jitter is the same
 * every time.
 */

/** A uniform factor in `1 - amplitude .. 1 + amplitude`. `what` is 0 for compute and 1 for transfers. */
export function jitterFactor(seed: number, amplitude: number, rank: number, hop: number, what: 0 | 1): number {
  if (amplitude === 0) return 1;
  const bits = mix(mix(mix(seed >>> 0) ^ (rank + 0x9e3779b9)) ^ (hop * 2 + what));
  return 1 + amplitude * (bits / 2 ** 31 - 1);
}

/** lowbias32 (Chris Wellons, public domain), as in engine/tensor/seeded.ts. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
