/** What has to move if tokens that lie in one layout are wanted in another: from prefill to decode, say. */
import { PADDING } from "./catalog.ts";

/** Tokens that one rank of the first layout sends to one rank of the second. */
export interface Transfer {
  /** The sender. */
  readonly from: number;
  /** The receiver. */
  readonly to: number;
  /** How many. */
  readonly tokens: number;
  /** How many contiguous runs they are: consecutive tokens that lie side by side on both ranks. */
  readonly contiguousRuns: number;
  /** The first of these runs. */
  readonly runs: readonly TokenRun[];
}

/** Consecutive tokens. */
export interface TokenRun {
  /** The first of them. */
  readonly start: number;
  /** How many. */
  readonly length: number;
}

/** Counts runs, and keeps the first `limit` of them. */
export class Runs {
  readonly first: { start: number; length: number }[] = [];
  count = 0;
  tokens = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds a token to the last run, or starts one. */
  add(token: number, continues: boolean): void {
    this.tokens++;
    if (!continues) {
      this.count++;
      if (this.count <= this.#limit) this.first.push({ start: token, length: 1 });
    } else if (this.count <= this.#limit) this.first[this.count - 1].length++;
  }
}

/**
 * The transfers of tokens between two layouts, by `from` and then `to`; `from[k]` and `to[k]` are the tokens of rank k
 * in order. Tokens that stay on a rank of the same number are among them. A transfer keeps its first `limit` runs.
 */
export function transfersBetween(
  from: readonly Int32Array[],
  to: readonly Int32Array[],
  limit = Infinity,
): Transfer[] {
  const most = to.reduce((all, tokens) => tokens.reduce((top, token) => Math.max(top, token), all), -1);
  const [owner, place] = [new Int32Array(most + 1).fill(-1), new Int32Array(most + 1)];
  to.forEach((tokens, rank) =>
    tokens.forEach((token, at) => {
      if (token !== PADDING) [owner[token], place[token]] = [rank, at];
    })
  );
  return from.flatMap((tokens, rank) => {
    const runs = new Map<number, Runs>();
    let last = PADDING;
    for (const token of tokens) {
      if (token === PADDING || token > most || owner[token] < 0) {
        last = PADDING;
        continue;
      }
      const target = owner[token];
      let own = runs.get(target);
      if (own === undefined) runs.set(target, own = new Runs(limit));
      const beside = last !== PADDING && last + 1 === token && owner[last] === target;
      own.add(token, beside && place[last] + 1 === place[token]);
      last = token;
    }
    return [...runs].sort(([a], [b]) => a - b).map(([target, own]): Transfer => ({
      from: rank,
      to: target,
      tokens: own.tokens,
      contiguousRuns: own.count,
      runs: own.first,
    }));
  });
}
