/**
 * How much work one submission may hold: short ones keep a page responsive, a driver's watchdog quiet, and a rank's
 * signs of life coming.
 */

/** Seconds that one submission should take. */
const TARGET = 0.3;
/**
 * FLOPs of a first submission, before any rate is known: a third of a second at 1.5 GFLOP/s, the rate of software
 * adapters.
 */
const FIRST = 5e8;

/** The rate of attention seen on one device. */
export class Pace {
  #rate: number | undefined;
  /** FLOPs of a submission while no rate is known. They grow each time one is too short to tell (on a fast GPU). */
  #unknown = FIRST;

  /** Tiles of `flops` each that a submission may hold, at least one. */
  tiles(flops: number): number {
    const budget = this.#rate === undefined ? this.#unknown : this.#rate * TARGET;
    return Math.max(1, Math.floor(budget / Math.max(1, flops)));
  }

  /** Notes a submission's work and seconds. Short ones say little of the rate. */
  saw(flops: number, duration: number): void {
    if (duration > TARGET / 100) this.#rate = flops / duration;
    else this.#unknown = Math.max(this.#unknown, 8 * flops);
  }
}
