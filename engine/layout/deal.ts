/**
 * Which rank gets which token. A sequence's tokens stay spread evenly over the ranks, whatever the steps were.
 *
 * The property: after any steps, the ranks' token counts of a sequence differ by at most 1. Both ways of appending keep
 * it: prefill gives its larger shares to the ranks that hold fewest (shares differ by at most 1, see `chunks`), and
 * decode gives a token only to a rank that holds fewest.
 */
import { chunkPair, chunks, type Dealing, joined, type Range } from "./shards.ts";

/**
 * Shards `length` new tokens from `offset` in 2N chunks; the pair (C_i and C_2N-1-i, or with `contiguous` C_2i and
 * C_2i+1) with the i-th largest share goes to the rank that holds the i-th fewest (ties in rank order, which is the
 * paper's assignment). Returns each rank's ranges.
 */
export function dealPrefill(
  length: number,
  offset: number,
  held: readonly number[],
  dealing: Dealing = "head-tail",
): Range[][] {
  const ranks = held.length;
  const all = chunks(length, ranks, offset, dealing);
  const pairs = held.map((_, i) => joined(chunkPair(dealing, i, ranks).map((c) => all[c])));
  const size = (pair: readonly Range[]) => pair.reduce((sum, { start, end }) => sum + end - start, 0);
  const largestFirst = pairs.map((_, i) => i).sort((a, b) => size(pairs[b]) - size(pairs[a]) || a - b);
  const fewestFirst = held.map((_, k) => k).sort((a, b) => held[a] - held[b] || a - b);
  const dealt: Range[][] = [];
  fewestFirst.forEach((rank, i) => (dealt[rank] = pairs[largestFirst[i]]));
  return dealt;
}

/**
 * Owners of one decode step's tokens (Algorithm 4): `held[b]` are the ranks' token counts of the batch's b-th sequence.
 * Each token goes to a rank that holds fewest of its sequence. The first choice is (b + step) mod N, the round-robin
 * deal shifted by one each step. If sequences compete, a matching keeps every rank at ceil(B / N) queries if that is
 * possible at all.
 */
export function dealDecode(held: readonly (readonly number[])[], step: number): number[] {
  const ranks = held[0]?.length ?? 1;
  const share = Math.ceil(held.length / ranks);
  const owners = new Array<number>(held.length).fill(-1);
  const queries = new Array<number>(ranks).fill(0);
  const candidates = held.map((counts, b) => {
    const fewest = Math.min(...counts);
    return Array.from({ length: ranks }, (_, i) => (b + step + i) % ranks).filter((rank) => counts[rank] === fewest);
  });
  const place = (b: number, tried: Set<number>): boolean => {
    for (const rank of candidates[b]) {
      if (tried.has(rank)) continue;
      tried.add(rank);
      const resident = queries[rank] < share
        ? undefined
        : owners.findIndex((owner, other) => owner === rank && other !== b && place(other, tried));
      if (resident === -1) continue;
      if (resident === undefined) queries[rank]++;
      owners[b] = rank;
      return true;
    }
    return false;
  };
  held.forEach((_, b) => {
    if (place(b, new Set())) return;
    owners[b] = candidates[b].reduce((best, rank) => (queries[rank] < queries[best] ? rank : best));
    queries[owners[b]]++;
  });
  return owners;
}
