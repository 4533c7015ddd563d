/** Head-tail sharding: which rank holds which tokens of a sequence (the paper, section 4, Fig. 1 and 2). */
import { InputError } from "../errors.ts";

/** One sequence of a fused batch: `new` tokens (T) after `cached` tokens (P). */
export interface Sequence {
  /** T. */
  readonly new: number;
  /** P. */
  readonly cached: number;
}

/** Tokens `start <= position < end` of a sequence. */
export interface Range {
  /** The first position. */
  readonly start: number;
  /** One past the last position. */
  readonly end: number;
}

/** Consecutive positions of one sequence that lie in consecutive rows of a block. */
export interface Run {
  /** The sequence's place in the batch. */
  readonly sequence: number;
  /** First position in the sequence (cached tokens count from 0, new ones from P). */
  readonly start: number;
  /** Positions in the run. */
  readonly length: number;
  /** First row in the block. */
  readonly row: number;
}

/**
 * The rows of one message or one operand, in order, each a token of a sequence.
 * Runs are ordered by sequence, then by position, and the runs of a sequence lie in adjacent rows. So a query sees one
 * range of rows of its sequence. Rows that no run names are padding.
 */
export interface Block {
  /** Its runs, ordered by sequence and then by position. */
  readonly runs: readonly Run[];
  /** All rows, padding included. */
  readonly rows: number;
}

/**
 * The 2N chunks of `length` tokens, as ranges from `offset`. If 2N doesn't divide the length, the first chunks get one
 * token more. So no rank holds more than ceil(length / N) tokens, and no two ranks differ by more than one.
 */
export function chunks(length: number, ranks: number, offset = 0): Range[] {
  return Array.from({ length: 2 * ranks }, (_, c) => chunk(c, length, ranks, offset));
}

/** One of them. */
function chunk(c: number, length: number, ranks: number, offset: number): Range {
  const small = Math.floor(length / (2 * ranks));
  const larger = length % (2 * ranks);
  const bound = (c: number) => offset + c * small + Math.min(c, larger);
  return { start: bound(c), end: bound(c + 1) };
}

/** The ranges of rank `rank`: chunks C_rank and C_(2N-1-rank), joined if they touch, without empty ones. */
export function headTail(length: number, ranks: number, rank: number, offset = 0): Range[] {
  return joined([chunk(rank, length, ranks, offset), chunk(2 * ranks - 1 - rank, length, ranks, offset)]);
}

/** The same ascending ranges without empty ones, touching ones joined. */
export function joined(ranges: readonly Range[]): Range[] {
  const out: Range[] = [];
  for (const range of ranges) {
    if (range.end <= range.start) continue;
    const last = out.at(-1);
    if (last?.end === range.start) out[out.length - 1] = { start: last.start, end: range.end };
    else out.push(range);
  }
  return out;
}

/** Tokens in some ranges. */
export function count(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

/**
 * A block of the tokens `ranges[i]` of each sequence i, padded to `lengths[i]` rows (Algorithm 2's L_i; default: no
 * padding).
 */
export function block(ranges: readonly (readonly Range[])[], lengths?: readonly number[]): Block {
  const runs: Run[] = [];
  let row = 0;
  ranges.forEach((own, sequence) => {
    const begin = row;
    for (const { start, end } of own) {
      runs.push({ sequence, start, length: end - start, row });
      row += end - start;
    }
    if (lengths !== undefined) row = begin + lengths[sequence];
  });
  return { runs, rows: row };
}

/** Runs by sequence, in order. */
export function bySequence(b: Block): Map<number, Run[]> {
  const out = new Map<number, Run[]>();
  for (const run of b.runs) {
    const runs = out.get(run.sequence);
    if (runs === undefined) out.set(run.sequence, [run]);
    else runs.push(run);
  }
  return out;
}

/** Rows of a block that hold a token. */
export function tokens(b: Block): number {
  return b.runs.reduce((sum, run) => sum + run.length, 0);
}

/** Every rank's query and KV blocks of a fused batch. All query blocks have equal rows, and so do all KV blocks. */
export interface Sharding {
  /** Each rank's block of Q. */
  readonly queries: readonly Block[];
  /** Each rank's block of K and V. */
  readonly keys: readonly Block[];
}

/**
 * Shards a fused batch over N ranks: each sequence's new tokens in 2N chunks, and its cached tokens in the same way as
 * if they were another sequence. Every rank's blocks are padded to the same number of rows (L_i = max over ranks,
 * Algorithm 2). Errors: InputError for a bad N.
 */
export function shard(sequences: readonly Sequence[], ranks: number): Sharding {
  if (!Number.isInteger(ranks) || ranks < 1) {
    throw new InputError(`ranks: found ${ranks}, expected a whole number of at least 1`);
  }
  const all = Array.from({ length: ranks }, (_, k) => k);
  const fresh = all.map((k) => sequences.map((s) => headTail(s.new, ranks, k, s.cached)));
  const held = all.map((k) => sequences.map((s, i) => joined([...headTail(s.cached, ranks, k), ...fresh[k][i]])));
  return { queries: equalBlocks(fresh), keys: equalBlocks(held) };
}

/** Blocks of equal rows, from every rank's ranges of each sequence. */
export function equalBlocks(ranges: readonly (readonly (readonly Range[])[])[]): Block[] {
  const lengths = ranges[0].map((_, i) => Math.max(...ranges.map((rank) => count(rank[i]))));
  return ranges.map((rank) => block(rank, lengths));
}

/** First row of each sequence in tensors that concatenate them: `new` rows for Q and O, `new + cached` for K and V. */
export function offsets(lengths: readonly number[]): number[] {
  let sum = 0;
  return lengths.map((length) => (sum += length) - length);
}
