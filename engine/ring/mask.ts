/**
 * Which rank computes which block of the mask, at which hop: the facts behind a picture of ring attention.
 */
import { ownerAt, type Variant } from "./contract.ts";
import { CAUSAL, type Mask } from "../layout/mask.ts";
import { pairsOfRuns } from "../layout/pairs.ts";
import { chunkOwner, chunks, type Dealing, type Range, type Sequence } from "../layout/shards.ts";

/** One of the 2N chunks of a sequence's new tokens, or of its cached ones. */
export interface MaskChunk extends Range {
  /** The sequence's place in the batch. */
  readonly sequence: number;
  /** Is it of the cached tokens? */
  readonly cached: boolean;
  /** The rank that holds it at the start. */
  readonly owner: number;
}

/** A query chunk beside a key chunk of the same sequence. */
export interface MaskBlock {
  /** Index of the chunk in `queries`. */
  readonly query: number;
  /** Index of the chunk in `keys`. */
  readonly key: number;
  /** The rank that attends to it. */
  readonly rank: number;
  /** The hop at which it does. */
  readonly hop: number;
  /** The first owner of the operand that travels there: of the key chunk in pass-KV, of the query chunk in pass-Q. */
  readonly owner: number;
  /** Visible query-key pairs: 0 in a block that is skipped. Each costs 4 D FLOPs per query head. */
  readonly pairs: number;
  /** True if every query of the block sees every key of it. */
  readonly full: boolean;
}

/** The mask of a fused batch over N ranks in blocks of chunks. */
export interface MaskPicture {
  /** Chunks of new tokens by sequence, in order of position. */
  readonly queries: readonly MaskChunk[];
  /** By sequence: chunks of cached tokens (if there are any), then of new tokens. */
  readonly keys: readonly MaskChunk[];
  /** Every block in which a query sees a key. */
  readonly blocks: readonly MaskBlock[];
  /** Pairs that each rank computes over all hops. */
  readonly pairs: readonly number[];
}

/**
 * The mask that a run of `variant` computes, by absolute position, as in `visibility`. `true` stands for a causal mask
 * and `false` for a full one.
 */
export function maskOf(
  sequences: readonly Sequence[],
  ranks: number,
  variant: Variant,
  mask: Mask | boolean = CAUSAL,
  dealing: Dealing = "head-tail",
): MaskPicture {
  const of: Mask = typeof mask === "boolean" ? { kind: mask ? "causal" : "full" } : mask;
  const cut = (length: number, offset: number, sequence: number, cached: boolean) =>
    chunks(length, ranks, offset, dealing).map((range, c): MaskChunk => ({
      ...range,
      sequence,
      cached,
      owner: chunkOwner(dealing, c, ranks),
    }));
  const queries = sequences.flatMap((s, i) => cut(s.new, s.cached, i, false));
  const keys = sequences.flatMap((
    s,
    i,
  ) => [...(s.cached > 0 ? cut(s.cached, 0, i, true) : []), ...cut(s.new, s.cached, i, false)]);
  const pairs = new Array<number>(ranks).fill(0);
  const blocks: MaskBlock[] = [];
  queries.forEach((q, query) =>
    keys.forEach((k, key) => {
      if (q.sequence !== k.sequence) return;
      const [rank, visitor] = variant === "pass-kv" ? [q.owner, k.owner] : [k.owner, q.owner];
      const area = (q.end - q.start) * (k.end - k.start);
      const seen = pairsOfRuns(run(q), run(k), of);
      pairs[rank] += seen;
      // The rank holds the chunk of rank - hop at each hop, so it meets the visitor at hop rank - visitor.
      blocks.push({
        query,
        key,
        rank,
        hop: ownerAt(rank, visitor, ranks),
        owner: visitor,
        pairs: seen,
        full: seen > 0 && seen === area,
      });
    })
  );
  return { queries, keys, blocks, pairs };
}

function run({ start, end }: Range): { readonly start: number; readonly length: number } {
  return { start, length: end - start };
}
