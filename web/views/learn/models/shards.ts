/** Chapter 4: what each rank holds and computes, dealt head-tail and in contiguous shards. */
import {
  type Block,
  block,
  CAUSAL,
  chunks,
  count,
  joined,
  type Range,
  type Sequence,
  shard,
  tokens,
  visibility,
} from "../../../engine/learn.ts";
import { D } from "./small.ts";

/** A way to deal tokens to ranks. */
export interface Deal {
  /** New tokens of each rank. */
  readonly ranges: readonly (readonly Range[])[];
  /** Query-key pairs of each rank, over all keys. */
  readonly pairs: readonly number[];
  /** FLOPs of these pairs, 4 D each. */
  readonly flops: readonly number[];
  /** Pairs of the busiest rank divided by the mean. */
  readonly imbalance: number;
  /** Pairs of rank k at hop j in pass-KV: `hops[k][j]`. */
  readonly hops: readonly (readonly number[])[];
}

/** The KV messages of one prefill. */
export interface Message {
  /** Tokens of each rank. */
  readonly tokens: readonly number[];
  /** Rows of a message with padding, the same on all ranks. */
  readonly rows: number;
}

/** Both deals of one prefill. */
export interface Sharding {
  readonly headTail: Deal;
  readonly contiguous: Deal;
  readonly chunks: readonly Range[];
  readonly pairs: number;
  /** The KV messages of the prefill, fused with a second sequence. */
  readonly message: Message;
}

/** `fresh` new tokens after `cached` ones on `ranks` ranks. `second` tokens of another sequence share the messages. */
export function sharding(ranks: number, fresh: number, cached: number, second: number): Sharding {
  const all = chunks(fresh, ranks, cached);
  const sequences: Sequence[] = [{ new: fresh, cached }];
  const dealt = shard(sequences, ranks);
  const own = (b: Block) => b.runs.map(({ start, length }) => ({ start, end: start + length }));
  const contiguous = Array.from({ length: ranks }, (_, k) => joined([all[2 * k], all[2 * k + 1]]));
  const cachedShards = dealt.keys.map((b) =>
    own(b).map(({ start, end }) => ({ start, end: Math.min(end, cached) })).filter(({ start, end }) => end > start)
  );
  const keys = (fresh: readonly (readonly Range[])[]) =>
    fresh.map((ranges, k) => block([joined([...cachedShards[k], ...ranges])]));
  const headTail = dealt.queries.map(own);
  const fused = shard(second === 0 ? sequences : [...sequences, { new: second, cached: 0 }], ranks).keys;
  const deal = dealOf(headTail, keys(headTail));
  return {
    headTail: deal,
    contiguous: dealOf(contiguous, keys(contiguous)),
    chunks: all,
    pairs: deal.pairs.reduce((a, b) => a + b),
    message: { tokens: fused.map(tokens), rows: fused[0].rows },
  };
}

function dealOf(ranges: readonly (readonly Range[])[], keys: readonly Block[]): Deal {
  const N = ranges.length;
  const hops = ranges.map((own, k) =>
    ranges.map((_, j) => visibility(block([own]), keys[(k - j + N) % N], CAUSAL).pairs)
  );
  const pairs = hops.map((row) => row.reduce((a, b) => a + b));
  return {
    ranges,
    hops,
    pairs,
    flops: pairs.map((n) => 4 * D * n),
    imbalance: (Math.max(...pairs) * N) / pairs.reduce((a, b) => a + b),
  };
}

/** New tokens that a rank holds. */
export function held(deal: Deal, rank: number): number {
  return count(deal.ranges[rank]);
}
