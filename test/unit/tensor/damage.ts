/** Damages files at random, but the same way every time. Readers may reject them, but only with InputError. */
import { InputError } from "../../../engine/errors.ts";

/**
 * Calls `read` with `rounds` truncated and `rounds` bit-flipped copies of `file`. Returns how many it rejected. Rethrows
 * any error but a one-line InputError.
 */
export function damage(file: Uint8Array, rounds: number, read: (bytes: Uint8Array) => unknown): number {
  let state = 1;
  const random = (n: number) => (state = Math.imul(state, 1664525) + 1013904223 >>> 0, Math.floor(state / 2 ** 32 * n));
  const refuses = (bytes: Uint8Array) => {
    try {
      read(bytes);
      return 0;
    } catch (error) {
      if (error instanceof InputError && !error.message.includes("\n")) return 1;
      throw error;
    }
  };
  let refused = 0;
  for (let round = 0; round < rounds; round++) {
    refused += refuses(file.slice(0, random(file.length)));
    const flipped = file.slice();
    for (let flips = 1 + random(3); flips > 0; flips--) flipped[random(file.length)] ^= 1 + random(255);
    refused += refuses(flipped);
  }
  return refused;
}
