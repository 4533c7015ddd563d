/** How much work one submission may hold, so that a page, a driver's watchdog and a rank's signs of life stay alive. */

/** Seconds that one submission should take. */
const TARGET = 0.3;
/**
 * FLOPs of a first submission, before any rate was seen: a third of a second at 1.5 GFLOP/s, what software adapters do.
 */
const FIRST = 5e8;

/** The rate of attention seen on one device. */
export class Pace {
  #rate: number | undefined;
  /** FLOPs of a submission while no rate is known: more, each time one was too short to tell (a fast GPU's). */
  #unknown = FIRST;

  /** Tiles of `flops` each that a submission may hold, at least one. */
  tiles(flops: number): number {
    const budget = this.#rate === undefined ? this.#unknown : this.#rate * TARGET;
    return Math.max(1, Math.floor(budget / Math.max(1, flops)));
  }

  /** Takes in a submission's work and seconds; short ones say little of the rate. */
  saw(flops: number, duration: number): void {
    if (duration > TARGET / 100) this.#rate = flops / duration;
    else this.#unknown = Math.max(this.#unknown, 8 * flops);
  }
}
