/**
 * One rank's persistent KV cache, on any back-end: it appends rows, makes a message of them, and copies them as bytes.
 */
import { block, count, type Range } from "../layout/shards.ts";
import type { PagePool } from "../layout/page-pool.ts";
import { Pages } from "../layout/pages.ts";
import { type RankChunk, rankChunk } from "../ring/chunk.ts";

/** Rows of one sequence, at the positions of `ranges`: K, then V. */
export interface CachedRows {
  readonly sequence: number;
  readonly ranges: readonly Range[];
  readonly data: ArrayBuffer;
}

/** The cache of one session on one rank. */
export class KvCache<KV> {
  readonly pages: Pages;
  readonly #pool: PagePool<KV>;
  readonly #rank: number;

  constructor(rank: number, pages: number, pool: PagePool<KV>) {
    this.#rank = rank;
    this.pages = new Pages(pages);
    this.#pool = pool;
  }

  /** Appends rows at later positions than those held. Errors: LimitError, before anything changes. */
  append({ sequence, ranges, data }: CachedRows): void {
    this.#pool.write(this.pages.append(sequence, ranges), data, count(ranges));
  }

  /** The cached rows of some sequences, in place. */
  keys(sequences: readonly number[]): KV {
    return this.#pool.keys(this.#rank, this.pages.view(sequences));
  }

  /** The same rows as a message, sequence i padded to `lengths[i]` rows (Algorithm 2). */
  async message(sequences: readonly number[], lengths: readonly number[]): Promise<RankChunk> {
    const padded = block(sequences.map((s) => this.pages.ranges(s)), lengths);
    const runs = padded.runs.map((run) => ({ ...run, sequence: sequences[run.sequence] }));
    let to = 0;
    const copies = sequences.flatMap((s, i) => {
      const begin = to;
      to += lengths[i];
      return this.pages.segments(s).map(({ row, from, count }) => ({ row, to: begin + from, count }));
    });
    return rankChunk(this.#rank, { runs, rows: padded.rows }, await this.#pool.read(copies, padded.rows));
  }

  /** All cached rows, sequence by sequence. */
  async copy(): Promise<CachedRows[]> {
    const out: CachedRows[] = [];
    for (const sequence of [...this.pages.sequences].sort((a, b) => a - b)) {
      const ranges = [...this.pages.ranges(sequence)];
      const copies = this.pages.segments(sequence).map(({ row, from, count }) => ({ row, to: from, count }));
      out.push({ sequence, ranges, data: await this.#pool.read(copies, count(ranges)) });
    }
    return out;
  }

  destroy(): void {
    this.#pool.destroy();
  }
}
