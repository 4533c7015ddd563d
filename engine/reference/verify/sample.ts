/** Picks the rows of a result to verify: those where sharding goes wrong first, and pseudo-random ones. */
import { InputError } from "../../errors.ts";
import { chunks, offsets } from "../../layout/shards.ts";
import type { Row, SeededBatch } from "./types.ts";

/**
 * `count` different rows of a batch over `ranks` ranks, by token: the first and the last token, tokens on both sides of
 * borders between the 2N chunks, then pseudo-random ones. Heads take turns, so that all occur if the count allows. The
 * same arguments give the same rows; another `salt` gives others. Errors: InputError for a bad count.
 */
export function sampleRows(
  batch: Pick<SeededBatch, "sequences" | "heads">,
  ranks: number,
  count: number,
  salt = 1,
): Row[] {
  const { sequences, heads } = batch;
  const tokens = sequences.reduce((sum, s) => sum + s.new, 0);
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new InputError(`rows to verify: found ${count}, expected a whole number of at least 1`);
  }
  const wanted = Math.min(count, tokens * heads);
  const random = xorshift(salt);
  const first = offsets(sequences.map((s) => s.new));
  const borders = sequences.flatMap((s, i) =>
    chunks(s.new, ranks, first[i]).slice(1).flatMap(({ start }) => [start - 1, start])
  );
  const edges = [...new Set([0, tokens - 1, ...shuffled(borders, random)])].filter((t) => t >= 0 && t < tokens);
  const seen = new Set<number>();
  // At most half are borders: with many ranks, they would leave no room for others.
  const fixed = edges.slice(0, Math.max(2, Math.ceil(wanted / 2)));
  for (let i = 0; seen.size < wanted; i++) {
    const token = i < fixed.length ? fixed[i] : Math.floor(random() * tokens);
    const place = token * heads + (i % heads);
    // In a small batch, draws keep hitting taken rows: fill it in order.
    seen.add(i < 20 * wanted ? place : nextFree(seen, place, tokens * heads));
  }
  return [...seen].sort((a, b) => a - b).map((place): Row => [Math.floor(place / heads), place % heads]);
}

function nextFree(seen: ReadonlySet<number>, place: number, all: number): number {
  while (seen.has(place)) place = (place + 1) % all;
  return place;
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

/** Numbers from 0 to before 1 (Marsaglia's xorshift, 32 bits). */
function xorshift(seed: number): () => number {
  let x = (seed ^ 0x9e3779b9) | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}
