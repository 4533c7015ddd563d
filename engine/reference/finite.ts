/** The last test of a rank's result: one that is not finite is an error, never an output. */
import { RankError } from "../errors.ts";

/**
 * Throws RankError unless every element of O is finite, and every LSE is finite or -Infinity (a row that sees no key).
 */
export function requireFinite(rank: number, out: ArrayLike<number>, lse: ArrayLike<number>): void {
  for (let i = 0; i < out.length; i++) {
    if (!Number.isFinite(out[i])) fail(rank, `O has ${out[i]} at element ${i}, expected finite numbers`);
  }
  for (let i = 0; i < lse.length; i++) {
    if (!Number.isFinite(lse[i]) && lse[i] !== -Infinity) {
      fail(
        rank,
        `LSE has ${lse[i]} at element ${i}, expected a finite number, or -Infinity for a row that sees no key`,
      );
    }
  }
}

function fail(rank: number, what: string): never {
  throw new RankError(
    rank,
    undefined,
    undefined,
    `its ${what}; nothing was written: values this large, or a faulty kernel, overflow f32`,
  );
}
