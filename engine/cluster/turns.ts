/** Long work on the thread that owns a cluster, in turns short enough that a page stays alive. */

/** Milliseconds of work after which others get their turn; a page is felt to hang from 50 to 100 ms on. */
const TURN = 24;

/** Gives the thread away between parts of some work, but only where they have taken long enough. */
export class Turns {
  #since = performance.now();

  /** To be awaited between two parts. */
  async next(): Promise<void> {
    if (performance.now() - this.#since < TURN) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#since = performance.now();
  }
}
