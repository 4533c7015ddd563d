/**
 * The errors that Ringside throws on purpose. Each says what was wrong, what was found, what was expected, what to do.
 */

/** Bad input or usage: a file, an option or a tensor that doesn't fit. The command line exits with status 2. */
export class InputError extends Error {
  /** The class's name. */
  override name = "InputError";
}

/** A device limit that the experiment exceeds. Sizes in bytes unless the limit's name says otherwise. */
export class LimitError extends InputError {
  /** The class's name. */
  override name = "LimitError";
  /** The limit's name. */
  readonly limit: string;
  /** What the device has. */
  readonly have: number;
  /** What the experiment needs. */
  readonly need: number;
  /** The largest number of new tokens T of this shape that would fit, if any. */
  readonly largestT: number | undefined;
  /** `holder` has `have`, `wanter` needs `need`. */
  constructor(
    limit: string,
    have: number,
    need: number,
    largestT?: number,
    holder = "the adapter",
    wanter = "this experiment",
  ) {
    const fits = largestT === undefined ? "" : `; the largest T of this shape that would fit is ${largestT}`;
    super(`${limit}: ${holder} has ${have}, ${wanter} needs ${need}${fits}`);
    this.limit = limit;
    this.have = have;
    this.need = need;
    this.largestT = largestT;
  }
}

/** A run failed on a rank: the rank died, its device was lost, or what it awaited never came. */
export class RankError extends Error {
  /** The class's name. */
  override name = "RankError";
  /** The rank that failed. */
  readonly rank: number;
  /** The hop at which it failed, if it was in one. */
  readonly hop: number | undefined;
  /** The message that it was waiting for. */
  readonly awaited: string | undefined;
  /** `what` happened to the rank. */
  constructor(rank: number, hop: number | undefined, awaited: string | undefined, what: string) {
    const where = hop === undefined ? `rank ${rank}` : `rank ${rank}, hop ${hop}`;
    super(`${where}: ${what}${awaited === undefined ? "" : ` (awaited: ${awaited})`}`);
    this.rank = rank;
    this.hop = hop;
    this.awaited = awaited;
  }
}

/** There is no WebGPU adapter; the message says what to do. */
export class NoAdapterError extends Error {
  /** The class's name. */
  override name = "NoAdapterError";
}
