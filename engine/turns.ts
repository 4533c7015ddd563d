/** Splits long work on the caller's thread into short turns, so that a page stays responsive and Ctrl-C works. */

/** Milliseconds of work before others get their turn; people feel a page hang from 50 to 100 ms on. */
const TURN = 24;

/** Yields the thread between parts of some work, once they have taken long enough. */
export class Turns {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();
  #pause: Promise<void> | undefined;

  /** If `signal` aborts, `next` and `rest` throw its reason. */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether others should have their turn. */
  get due(): boolean {
    return performance.now() - this.#since >= TURN;
  }

  /** Await it between two parts. */
  async next(): Promise<void> {
    if (this.due) await this.rest();
  }

  /** Yields the thread now. All work in these turns goes on after the same pause. */
  rest(): Promise<void> {
    return (this.#pause ??= new Promise<void>((resolve) => setTimeout(resolve)).then(() => {
      this.#pause = undefined;
      this.#since = performance.now();
      this.#signal?.throwIfAborted();
    }));
  }
}
