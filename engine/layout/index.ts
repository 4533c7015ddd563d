/** The layout's public face: which rank holds which token, how new tokens are dealt, and what a query may see. */
export { type Layout, LAYOUT_NAMES, layoutOf, PADDING } from "./catalog.ts";
export { type TokenRun, type Transfer, transfersBetween } from "./transfers.ts";
export { dealDecode, dealPrefill } from "./deal.ts";
export {
  CAUSAL,
  isLocal,
  type LocalMask,
  type Mask,
  maskFrom,
  readMask,
  sameMask,
  sayMask,
  sinkTokensOf,
  validateMask,
} from "./mask.ts";
export { pairsBetween, pairsOfRuns } from "./pairs.ts";
export {
  type Block,
  block,
  bySequence,
  chunkOwner,
  chunks,
  count,
  type Dealing,
  DEALINGS,
  dealtTo,
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
export { type Band, type View, type Visibility, visibility } from "./visibility.ts";
