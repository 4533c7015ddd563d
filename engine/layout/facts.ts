/** A layout of a batch in figures: each rank's tokens, padding and work. */
import { type Layout, PADDING } from "./catalog.ts";
import { endSeen, firstSeen, type Mask, sinkTokensOf } from "./mask.ts";
import { Runs, type TokenRun } from "./transfers.ts";

/** One rank of a layout. */
export interface RankFacts {
  readonly rank: number;
  readonly tokens: number;
  readonly padding: number;
  /** Query-key pairs of its new tokens. */
  readonly pairs: number;
  /** How many contiguous runs of the batch's new tokens its shard has. */
  readonly contiguousRuns: number;
  /** The first of them, in the order of its shard. */
  readonly runs: readonly TokenRun[];
}

/** Each rank's tokens of a batch, numbered through its sequences. */
export function shardsOf(layout: Layout, sequences: readonly number[], ranks: number): readonly Int32Array[] {
  return layout.dealBatch(sequences, ranks);
}

/** Each rank's cached and new tokens: cached ones come first, so the numbers are positions through the sequences. */
export function wholeShards(
  layout: Layout,
  fresh: readonly number[],
  cached: readonly number[],
  ranks: number,
): readonly Int32Array[] {
  return layout.dealBatch(fresh.flatMap((T, i) => [cached[i], T]), ranks);
}

/**
 * The facts of rank `rank`, whose shard `shardsOf` gave; `fresh` and `cached` are the tokens of each sequence. Lists at
 * most `limit` runs.
 */
export function factsOf(
  rank: number,
  tokens: Int32Array,
  fresh: readonly number[],
  cached: readonly number[],
  mask: Mask,
  limit = Infinity,
): RankFacts {
  const runs = new Runs(limit);
  const ends: number[] = [];
  for (const T of fresh) ends.push((ends.at(-1) ?? 0) + T);
  let [pairs, padding, sequence, last] = [0, 0, 0, PADDING];
  for (const token of tokens) {
    if (token === PADDING) {
      padding++;
      continue;
    }
    if (token < ends[sequence] - fresh[sequence]) sequence = 0;
    while (token >= ends[sequence]) sequence++;
    const position = cached[sequence] + token - (ends[sequence] - fresh[sequence]);
    const near = firstSeen(mask, position);
    const end = Math.min(endSeen(mask, position), cached[sequence] + fresh[sequence]);
    pairs += end - near + Math.min(sinkTokensOf(mask), near);
    runs.add(token, last !== PADDING && last + 1 === token);
    last = token;
  }
  return { rank, tokens: runs.tokens, padding, pairs, contiguousRuns: runs.count, runs: runs.first };
}

/** The busiest rank's work over the mean. */
export function imbalanceOf(perRank: readonly Pick<RankFacts, "pairs">[]): number {
  const all = perRank.map(({ pairs }) => pairs);
  const sum = all.reduce((a, b) => a + b, 0);
  return sum === 0 ? 1 : (Math.max(...all) * all.length) / sum;
}
