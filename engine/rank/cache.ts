/**
 * One rank's persistent KV cache, on any back-end: it appends rows, makes a message of them, and copies them as bytes.
 */
import { type Block, block, bySequence, count, type Range } from "../layout/shards.ts";
import type { Copy, PagePool } from "../layout/page-pool.ts";
import { PAGE, Pages } from "../layout/pages.ts";
import { type Copied, shared } from "../layout/shared.ts";
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

  /** The same rows in a message, sequence i padded to `lengths[i]` rows (Algorithm 2). */
  padded(sequences: readonly number[], lengths: readonly number[]): Block {
    const { runs, rows } = block(sequences.map((s) => this.pages.ranges(s)), lengths);
    return { runs: runs.map((run) => ({ ...run, sequence: sequences[run.sequence] })), rows };
  }

  /** A message of the cached rows that a block names. */
  async message(wanted: Block): Promise<RankChunk> {
    const { block, table } = this.pages.view([...bySequence(wanted).keys()]);
    const copies = shared(block, wanted).flatMap((copied) => inPages(copied, table));
    return rankChunk(this.#rank, wanted, await this.#pool.read(copies, wanted.rows));
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

/** Adjacent rows of a view as rows of the pool, page by page. */
function inPages({ from, to, rows }: Copied, table: Uint32Array): Copy[] {
  const copies: Copy[] = [];
  for (let at = 0; at < rows;) {
    const inPage = (from + at) % PAGE;
    const count = Math.min(PAGE - inPage, rows - at);
    copies.push({ row: table[Math.floor((from + at) / PAGE)] * PAGE + inPage, to: to + at, count });
    at += count;
  }
  return copies;
}
