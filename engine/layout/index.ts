/** The layout's public face: which rank holds which token, how new tokens are dealt, and what a query may see. */
export { dealDecode, dealPrefill } from "./deal.ts";
export { pairsBetween, pairsOfRuns } from "./pairs.ts";
export {
  type Block,
  block,
  bySequence,
  chunks,
  count,
  equalBlocks,
  headTail,
  joined,
  offsets,
  type Range,
  type Run,
  type Sequence,
  shard,
  type Sharding,
  tokens,
} from "./shards.ts";
export { type View, type Visibility, visibility } from "./visibility.ts";
