/** Sharding: which rank holds which tokens of a sequence (head-tail: the paper, section 4, Fig. 1 and 2). */
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
 * How ranks get the 2N chunks of a sequence: `head-tail` gives C_i and C_2N-1-i to rank i, as in the paper, which
 * balances a causal mask. `contiguous` gives it C_2i and C_2i+1: neighbours then hold what a window sees.
 */
export type Dealing = "head-tail" | "contiguous";

/** Every dealing. */
export const DEALINGS: readonly Dealing[] = ["head-tail", "contiguous"];

/** The two chunks that rank `rank` of N gets. */
export function chunkPair(dealing: Dealing, rank: number, ranks: number): [number, number] {
  return dealing === "contiguous" ? [2 * rank, 2 * rank + 1] : [rank, 2 * ranks - 1 - rank];
}

/** The rank that gets chunk `c` of 2N. */
export function chunkOwner(dealing: Dealing, c: number, ranks: number): number {
  return dealing === "contiguous" ? Math.floor(c / 2) : Math.min(c, 2 * ranks - 1 - c);
}

/**
 * The 2N chunks of `length` tokens, as ranges from `offset`. If 2N doesn't divide the length, some chunks get one token
 * more: the first ones, or with `contiguous` those that leave the ranks' shares even. So no rank holds more than
 * ceil(length / N) tokens, and no two ranks differ by more than one.
 */
export function chunks(length: number, ranks: number, offset = 0, dealing: Dealing = "head-tail"): Range[] {
  return Array.from({ length: 2 * ranks }, (_, c) => chunk(c, length, ranks, offset, dealing));
}

/** One of them. */
function chunk(c: number, length: number, ranks: number, offset: number, dealing: Dealing): Range {
  const shared = (c: number, of: number) => c * Math.floor(length / of) + Math.min(c, length % of);
  const bound = (c: number) => {
    if (dealing === "head-tail") return offset + shared(c, 2 * ranks);
    // A rank's share is halved.
    const [start, end] = [shared(Math.floor(c / 2), ranks), shared(Math.ceil(c / 2), ranks)];
    return offset + start + Math.ceil((end - start) / 2);
  };
  return { start: bound(c), end: bound(c + 1) };
}

/** The ranges of rank `rank`: its two chunks, joined if they touch, without empty ones. */
export function dealtTo(dealing: Dealing, length: number, ranks: number, rank: number, offset = 0): Range[] {
  return joined(chunkPair(dealing, rank, ranks).map((c) => chunk(c, length, ranks, offset, dealing)));
}

/** The same with head-tail chunks. */
export function headTail(length: number, ranks: number, rank: number, offset = 0): Range[] {
  return dealtTo("head-tail", length, ranks, rank, offset);
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
export function shard(sequences: readonly Sequence[], ranks: number, dealing: Dealing = "head-tail"): Sharding {
  if (!Number.isInteger(ranks) || ranks < 1) {
    throw new InputError(`ranks: found ${ranks}, expected a whole number of at least 1`);
  }
  const all = Array.from({ length: ranks }, (_, k) => k);
  const fresh = all.map((k) => sequences.map((s) => dealtTo(dealing, s.new, ranks, k, s.cached)));
  const held = all.map((k) =>
    sequences.map((s, i) => joined([...dealtTo(dealing, s.cached, ranks, k), ...fresh[k][i]]))
  );
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
