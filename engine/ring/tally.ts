/** Counts what a ring sends and skips, without running it. */
import type { Mask } from "../layout/mask.ts";
import { pairsBetween } from "../layout/pairs.ts";
import { type Dealing, type Sequence, shard } from "../layout/shards.ts";
import type { Variant } from "./contract.ts";
import { chunkBounds, Route, type Shards } from "./route.ts";

/** Messages of one kind, of all ranks. */
export interface Mail {
  /** Messages that are sent. */
  readonly messages: number;
  /** Their rows, padding included. */
  readonly rows: number;
}

/** What all ranks of one ring send. */
export interface Tally {
  /** Messages to the next rank. */
  readonly ring: Mail;
  /** Partial results that go home in pass-Q. */
  readonly parcels: Mail;
  /** What the mask made needless. */
  readonly skipped: {
    /** Hops of a rank, of N x N, without an attention. */
    readonly hops: number;
    readonly ring: Mail;
    readonly parcels: Mail;
  };
  /** Query-key pairs that each rank computes. */
  readonly pairs: readonly number[];
}

/** The shards of a fused batch in which cached tokens are dealt as new ones. */
export function shardsOf(sequences: readonly Sequence[], ranks: number, dealing: Dealing): Shards {
  const bounds = new Map(sequences.map((sequence, i) => [i, chunkBounds(sequence, ranks, dealing)]));
  return { ...shard(sequences, ranks, dealing), bounds };
}

/** Counts the ring of `variant` over a fused batch. Takes O(N^2) steps. */
export function tally(
  variant: Variant,
  sequences: readonly Sequence[],
  ranks: number,
  mask: Mask,
  dealing: Dealing = "head-tail",
): Tally {
  const shards = shardsOf(sequences, ranks, dealing);
  const route = new Route(variant, shards, mask);
  const [ring, parcels, lost] = [{ messages: 0, rows: 0 }, { messages: 0, rows: 0 }, { messages: 0, rows: 0 }];
  const lostParcels = { messages: 0, rows: 0 };
  const pairs = new Array<number>(ranks).fill(0);
  let idle = 0;
  const add = (sent: number, whole: number, to: { messages: number; rows: number }, rest: typeof to) => {
    to.messages += Number(sent > 0);
    to.rows += sent;
    rest.messages += Number(sent === 0);
    rest.rows += whole - sent;
  };
  for (let rank = 0; rank < ranks; rank++) {
    for (let other = 0; other < ranks; other++) {
      const seen = variant === "pass-kv"
        ? pairsBetween(shards.queries[rank], shards.keys[other], mask)
        : pairsBetween(shards.queries[other], shards.keys[rank], mask);
      pairs[rank] += seen;
      idle += Number(seen === 0);
      const hop = (rank - other + ranks) % ranks;
      const whole = route.own(other).rows;
      if (hop < ranks - 1) add(route.sent(rank, hop).rows, whole, ring, lost);
      if (variant === "pass-q" && other !== rank) add(route.parcel(rank, other).rows, whole, parcels, lostParcels);
    }
  }
  return { ring, parcels, skipped: { hops: idle, ring: lost, parcels: lostParcels }, pairs };
}
