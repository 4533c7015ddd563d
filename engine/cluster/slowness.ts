/** How slow this machine is now: limits of time are for a quiet one, and are stretched by it. */

/** Turns of the loop below. */
const TURNS = 2e7;
/**
 * Seconds that they take on one core of an ordinary server of 2026 with nothing else to do (measured: 19 ms in Node and
 * Deno on two).
 */
const QUIET = 0.022;
/** More than that is not believed of a machine that still works. */
const MOST = 20;

/**
 * By how much this thread is slower than on a quiet machine, from 1 to 20; some 20 ms of arithmetic where it is quiet.
 */
export function slowness(): number {
  const start = performance.now();
  let x = 1;
  for (let i = 0; i < TURNS; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
  // The result is used, so that no compiler may leave the loop out.
  const seconds = (performance.now() - start) / 1000 + (x === 0 ? 1 : 0);
  return Math.min(MOST, Math.max(1, seconds / QUIET));
}
