/**
 * The errors that Ringside throws on purpose. Each says what was wrong, what was found, what was expected, what to do.
 */

/** Bad input or usage: a file, an option or a tensor that doesn't fit. The command line exits with status 2. */
export class InputError extends Error {
  override name = "InputError";
}

/** A device limit that the experiment exceeds. Sizes in bytes unless the limit's name says otherwise. */
export class LimitError extends InputError {
  override name = "LimitError";
  readonly limit: string;
  readonly have: number;
  readonly need: number;
  /** The largest number of new tokens T of this shape that would fit, if any. */
  readonly largestT: number | undefined;
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
  override name = "RankError";
  readonly rank: number;
  readonly hop: number | undefined;
  readonly awaited: string | undefined;
  constructor(rank: number, hop: number | undefined, awaited: string | undefined, what: string) {
    const where = hop === undefined ? `rank ${rank}` : `rank ${rank}, hop ${hop}`;
    super(`${where}: ${what}${awaited === undefined ? "" : ` (awaited: ${awaited})`}`);
    this.rank = rank;
    this.hop = hop;
    this.awaited = awaited;
  }
}
