/** Long work on the caller's own thread, in turns short enough that a page stays alive and Ctrl-C is heard. */

/** Milliseconds of work after which others get their turn; a page is felt to hang from 50 to 100 ms on. */
const TURN = 24;

/** Gives the thread away between parts of some work, but only where they have taken long enough. */
export class Turns {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();
  #pause: Promise<void> | undefined;

  /** With `signal`, work stops at its abort: `next` and `rest` throw its reason. */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether others should have their turn. */
  get due(): boolean {
    return performance.now() - this.#since >= TURN;
  }

  /** To be awaited between two parts. */
  async next(): Promise<void> {
    if (this.due) await this.rest();
  }

  /** Gives the thread away now; all who work in these turns go on after the same pause. */
  rest(): Promise<void> {
    return (this.#pause ??= new Promise<void>((resolve) => setTimeout(resolve)).then(() => {
      this.#pause = undefined;
      this.#since = performance.now();
      this.#signal?.throwIfAborted();
    }));
  }
}
