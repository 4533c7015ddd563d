/** Two layouts in figures: who holds which token, the work of each rank, and what moves from one to the other. */
import {
  factsOf,
  imbalanceOf,
  type Layout,
  layoutOf,
  PADDING,
  type RankFacts,
  shardsOf,
  type Transfer,
  transfersBetween,
} from "../../../engine/compare.ts";
import { sayMask } from "../../../engine/run.ts";
import type { Question } from "./state.ts";

/** A run of bins along the batch: a rank holds `share` of each bin's tokens. */
export interface Band {
  readonly from: number;
  readonly to: number;
  readonly share: number;
}

/** One layout of the batch. */
export interface Side {
  readonly layout: Layout;
  readonly ranks: number;
  readonly perRank: readonly RankFacts[];
  /** The busiest rank's work over the mean. */
  readonly imbalance: number;
  /** By rank: where its tokens lie, in bins. */
  readonly bands: readonly (readonly Band[])[];
  readonly shards: readonly Int32Array[];
}

/** A layout, or why its framework can't deal these lengths. */
export type Dealt = Side | { readonly refused: string };

/** The answer. */
export interface Answer {
  readonly left: Dealt;
  readonly right: Dealt;
  /** Undefined if a layout is refused. */
  readonly transfers?: readonly Transfer[];
  /** Bins of the pictures, each of the same number of tokens but the last. */
  readonly bins: number;
  readonly tokens: number;
}

/** Bins of a picture. */
const BINS = 256;

/** Answers a question. */
export function answer({ left, right, sequences, mask }: Question): Answer {
  const tokens = sequences.reduce((sum, length) => sum + length, 0);
  const size = Math.ceil(tokens / BINS);
  const none = sequences.map(() => 0);
  const dealt = ({ layout: name, ranks }: Question["left"]): Dealt => {
    try {
      const layout = layoutOf(name);
      const shards = shardsOf(layout, sequences, ranks);
      const perRank = shards.map((own, rank) => factsOf(rank, own, sequences, none, mask));
      const bands = shards.map((own) => bandsOf(own, size, tokens));
      return { layout, ranks, perRank, imbalance: imbalanceOf(perRank), bands, shards };
    } catch (error) {
      return { refused: error instanceof Error ? error.message : String(error) };
    }
  };
  const [from, to] = [dealt(left), dealt(right)];
  return {
    left: from,
    right: to,
    ...("refused" in from || "refused" in to ? {} : { transfers: transfersBetween(from.shards, to.shards) }),
    bins: Math.ceil(tokens / size),
    tokens,
  };
}

/** Where a rank's tokens lie, in bins of `size` tokens. */
export function bandsOf(shard: Int32Array, size: number, tokens: number): Band[] {
  const counts = new Int32Array(Math.ceil(tokens / size));
  for (const token of shard) if (token !== PADDING) counts[Math.floor(token / size)]++;
  const bands: { from: number; to: number; share: number }[] = [];
  counts.forEach((count, bin) => {
    const share = count / Math.min(size, tokens - bin * size);
    const last = bands.at(-1);
    if (last?.to === bin && last.share === share) last.to = bin + 1;
    else if (share > 0) bands.push({ from: bin, to: bin + 1, share });
  });
  return bands;
}

/** How much moves to another rank, of all, and in how many contiguous runs. */
export function movedOf(
  transfers: readonly Transfer[],
): { readonly moved: number; readonly all: number; readonly runs: number } {
  let [moved, all, runs] = [0, 0, 0];
  for (const { from, to, tokens, runs: own } of transfers) {
    all += tokens;
    if (from === to) continue;
    moved += tokens;
    runs += own.length;
  }
  return { moved, all, runs };
}

/** The same by command line. */
export function layoutCommand({ left, right, sequences, mask }: Question): string {
  return [
    `npx ringside-cp layout --layout ${left.layout} --ranks ${left.ranks} --sequences ${sequences.join(",")}`,
    `--to ${right.layout}${right.ranks === left.ranks ? "" : ` --to-ranks ${right.ranks}`}`,
    ...(mask.kind === "causal" ? [] : [`--mask ${sayMask(mask)}`]),
  ].join(" ");
}
