/** Measures how slow this machine is now. Time limits are set for a quiet machine and multiplied by this. */

/** Iterations of the loop below. */
const TURNS = 2e7;
/**
 * Seconds that the loop takes on one core of an ordinary, idle server of 2026 (measured in Node and Deno on two: 19 ms).
 */
const QUIET = 0.022;
/** The largest value: a machine that still works isn't slower. */
const MOST = 20;

/**
 * How many times slower this thread is than on a quiet machine, from 1 to 20. Takes some 20 ms of arithmetic if quiet.
 */
export function slowness(): number {
  const start = performance.now();
  let x = 1;
  for (let i = 0; i < TURNS; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
  // Uses the result, so that no compiler can drop the loop.
  const seconds = (performance.now() - start) / 1000 + (x === 0 ? 1 : 0);
  return Math.min(MOST, Math.max(1, seconds / QUIET));
}
