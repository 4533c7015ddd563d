/** The rows and pairs of one layer's ring: which rank holds what, what travels, and what each attention call sees. */
import { isLocal, type LocalMask, type Mask } from "../layout/mask.ts";
import { keysSeen, pairsBetween } from "../layout/pairs.ts";
import { type Block, block, count, type Dealing, dealtTo, type Sequence, tokens } from "../layout/shards.ts";
import { ownerAt, type Variant } from "../ring/contract.ts";
import { chunkBounds, Route } from "../ring/route.ts";
import { shardsOf } from "../ring/tally.ts";
import { visiblePairs } from "./flops.ts";

/** A step's tokens and who holds them. */
export interface DealtStep {
  readonly cp: number;
  /** Each sequence of the batch. */
  readonly sequence: Sequence;
  /** B. */
  readonly batch: number;
  /** Cached tokens of a sequence on each rank, if they are not dealt evenly (after many turns and decodes). */
  readonly held?: readonly number[];
  /** One new token for each sequence, in a CUDA graph, by pass-Q (Algorithm 4) or pass-KV. */
  readonly decode: boolean;
  readonly mask: Mask;
  readonly dealing: Dealing;
}

/** The attention calls of a ring, and its messages in rows. Ranks are those that first owned the queries and the keys. */
export interface Calls {
  /** Query rows and KV rows of a rank, with padding. */
  readonly rows: number;
  readonly keys: number;
  /** Query-key pairs that a call sees. */
  readonly pairs: (queries: number, keys: number) => number;
  /** KV rows that a call reads. */
  readonly read: (queries: number, keys: number) => number;
  /** What travels under a local mask; undefined if every message is whole. */
  readonly route?: {
    /** Rows that a rank sends at a hop. */
    readonly sent: (rank: number, hop: number) => number;
    /** Query rows whose partial results a rank sends to their owner in pass-Q. */
    readonly parcel: (rank: number, owner: number) => number;
  };
}

/** Whether every rank has the same work and messages, so that one can stand for all. */
export function ranksAlike({ mask, dealing }: Pick<DealtStep, "mask" | "dealing">): boolean {
  return mask.kind === "full" || (mask.kind === "causal" && dealing === "head-tail");
}

/** The calls of a step. Without `everyRank`, all ranks have the mean of the pairs. */
export function callsOf(step: DealtStep, variant: Variant, everyRank: boolean): Calls {
  const { mask } = step;
  if (isLocal(mask)) return step.decode ? localDecode(step, mask, variant) : localPrefill(step, mask, variant);
  return step.decode ? decodeCalls(step, variant) : prefillCalls(step, everyRank);
}

/**
 * Prefill: new tokens lie in dealt shards (engine/layout), and each rank's KV is padded to `max P_k + ceil(T/N)` rows
 * (section 4). A new token sees all cached ones. So on rank k, rank q's queries see `T_q P_k` cached pairs, plus the pairs
 * among new tokens. Without `everyRank`, all ranks have the mean: they differ by a row at most.
 */
function prefillCalls({ sequence, batch, held, cp, mask, dealing }: DealtStep, everyRank: boolean): Calls {
  const ranks = Array.from({ length: everyRank ? cp : 1 }, (_, k) => k);
  const cached = held ?? ranks.map((k) => count(dealtTo(dealing, sequence.cached, ranks.length, k)));
  const rows = batch * Math.ceil(sequence.new / cp);
  const keys = rows + batch * (everyRank ? Math.max(...cached) : Math.ceil(sequence.cached / cp));
  if (!everyRank) {
    const mean = (batch * visiblePairs(sequence, mask)) / cp ** 2;
    return { rows, keys, read: () => keys, pairs: () => mean };
  }
  const fresh = ranks.map((k) => block([dealtTo(dealing, sequence.new, cp, k)]));
  const own = fresh.map(tokens);
  return {
    rows,
    keys,
    read: () => keys,
    pairs: (q, k) => batch * (own[q] * cached[k] + pairsBetween(fresh[q], fresh[k], mask)),
  };
}

/** Prefill under a local mask: a call reads only the keys that its queries see, and messages follow the engine's Route. */
function localPrefill({ sequence, batch, cp, dealing }: DealtStep, mask: LocalMask, variant: Variant): Calls {
  const shards = shardsOf([sequence], cp, dealing);
  const { queries, keys } = shards;
  const route = new Route(variant, shards, mask);
  return {
    rows: batch * queries[0].rows,
    keys: batch * keys[0].rows,
    read: (q, k) => batch * keysSeen(queries[q], keys[k], mask),
    pairs: (q, k) => batch * pairsBetween(queries[q], keys[k], mask),
    route: {
      sent: (rank, hop) => batch * route.sent(rank, hop).rows,
      parcel: (rank, owner) => batch * route.parcel(rank, owner).rows,
    },
  };
}

/**
 * Decode (Algorithm 4): the batch is dealt round-robin and padded to a multiple of N. So each visiting chunk has
 * ceil(B/N) queries; padding costs as much as a query. Each query reads its own sequence's rows on this rank.
 */
function decodeCalls({ sequence, batch, held, cp }: DealtStep, variant: Variant): Calls {
  const rows = Math.ceil(batch / cp);
  const local = held === undefined ? Math.ceil((sequence.cached + 1) / cp) : Math.max(...held) + 1;
  const read = rows * local;
  return { rows, keys: variant === "pass-kv" ? batch * local : read, read: () => read, pairs: () => read };
}

/**
 * Decode under a local mask. Sequences are equal, and each lies on all ranks alike, so one stands for all: its query, at
 * position P, as each rank would have it, and its cached keys. The new token's own key stays with its query.
 */
function localDecode({ sequence, batch, cp, dealing }: DealtStep, mask: LocalMask, variant: Variant): Calls {
  const P = sequence.cached;
  const ranks = Array.from({ length: cp }, (_, k) => k);
  const query = block([[{ start: P, end: P + 1 }]]);
  const keys: Block[] = ranks.map((k) => block([dealtTo(dealing, P, cp, k)]));
  const bounds = new Map([[0, chunkBounds({ new: 1, cached: P }, cp, dealing)]]);
  const route = new Route(variant, { queries: ranks.map(() => query), keys, bounds }, mask);
  const rows = Math.ceil(batch / cp);
  // The batch is dealt round-robin.
  const owned = (rank: number) => Math.floor(batch / cp) + Number(rank < batch % cp);
  const padded = (rank: number) => owned(rank) === 0 ? 0 : rows;
  const seen = keys.map((k) => pairsBetween(query, k, mask));
  const read = (q: number, k: number) => padded(q) * (seen[k] + Number(q === k));
  const later = (rank: number, hop: number) =>
    Array.from({ length: cp - 1 - hop }, (_, i) => owned((rank + 1 + i) % cp)).reduce((sum, n) => sum + n, 0);
  return {
    rows,
    keys: variant === "pass-kv" ? batch * Math.ceil((P + 1) / cp) : rows * Math.ceil((P + 1) / cp),
    pairs: read,
    read,
    route: {
      // Pass-KV sends only the keys of later ranks' sequences.
      sent: (rank, hop) =>
        route.sent(rank, hop).rows * (variant === "pass-kv" ? later(rank, hop) : padded(ownerAt(rank, hop, cp))),
      parcel: (rank, owner) => route.parcel(rank, owner).rows * padded(owner),
    },
  };
}
