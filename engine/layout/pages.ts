/**
 * The bookkeeping of a rank's cached rows: pages of a pool, and a list of pages for each sequence. Growth moves no row,
 * and a failed step can be rolled back.
 */
import { LimitError } from "../errors.ts";
import { type Block, count, joined, type Range, type Run } from "./shards.ts";

/** Rows of a page; the PAGE of the kernels. A multiple of 4, as they read four keys at a time. */
export const PAGE = 64;

/** Appended rows `from` to before `from + count` go to pool row `row` and those after it. */
export interface Segment {
  readonly row: number;
  readonly from: number;
  readonly count: number;
}

interface HeldSequence {
  readonly pages: number[];
  readonly ranges: Range[];
}

/** A pool's pages and who holds them. */
export class Pages {
  /** Pages in the pool. */
  readonly capacity: number;
  readonly #free: number[];
  readonly #held = new Map<number, HeldSequence>();
  /** The sequences that grew since `begin`, as they were then. */
  #before: Map<number, { pages: number; ranges: Range[] } | undefined> | undefined;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
  }

  /** Sequences that have rows here. */
  get sequences(): number[] {
    return [...this.#held.keys()];
  }

  /** Positions held of a sequence, in the order of its rows. */
  ranges(sequence: number): readonly Range[] {
    return this.#held.get(sequence)?.ranges ?? [];
  }

  /** Pages that hold rows. */
  get used(): number {
    return this.capacity - this.#free.length;
  }

  /** From here on, `rollback` undoes what is appended. */
  begin(): void {
    this.#before = new Map();
  }

  /** Keeps what was appended since `begin`. */
  commit(): void {
    this.#before = undefined;
  }

  /** Undoes what was appended since `begin`. */
  rollback(): void {
    for (const [sequence, before] of this.#before ?? []) {
      const held = this.#held.get(sequence);
      if (held === undefined) continue;
      this.#free.push(...held.pages.splice(before?.pages ?? 0).reverse());
      if (before === undefined) this.#held.delete(sequence);
      else held.ranges.splice(0, held.ranges.length, ...before.ranges);
    }
    this.#before = undefined;
  }

  /**
   * Takes room for rows at later positions of a sequence, and returns where they go. Throws LimitError before anything
   * changes.
   */
  append(sequence: number, ranges: readonly Range[]): Segment[] {
    const rows = count(ranges);
    const held = this.#held.get(sequence);
    const at = held === undefined ? 0 : count(held.ranges);
    const need = Math.ceil((at + rows) / PAGE) - (held?.pages.length ?? 0);
    if (need > this.#free.length) throw new LimitError("pages of the KV cache", this.#free.length, need);
    if (rows === 0) return [];
    if (this.#before !== undefined && !this.#before.has(sequence)) {
      this.#before.set(sequence, held && { pages: held.pages.length, ranges: [...held.ranges] });
    }
    const grown = held ?? { pages: [], ranges: [] };
    if (held === undefined) this.#held.set(sequence, grown);
    for (let i = 0; i < need; i++) grown.pages.push(this.#free.pop()!);
    grown.ranges.splice(0, grown.ranges.length, ...joined([...grown.ranges, ...ranges]));
    return this.#segments(grown, at, rows);
  }

  /** The segments of a sequence's rows, in order. */
  segments(sequence: number): Segment[] {
    const held = this.#held.get(sequence);
    return held === undefined ? [] : this.#segments(held, 0, count(held.ranges));
  }

  drop(sequence: number): void {
    this.#free.push(...(this.#held.get(sequence)?.pages ?? []).reverse());
    this.#held.delete(sequence);
  }

  /** The rows of some sequences as one block of pages, with the table of the pages' places in the pool. */
  view(sequences: readonly number[]): { readonly block: Block; readonly table: Uint32Array<ArrayBuffer> } {
    const runs: Run[] = [];
    const table: number[] = [];
    for (const sequence of [...sequences].sort((a, b) => a - b)) {
      const held = this.#held.get(sequence);
      if (held === undefined) continue;
      let row = table.length * PAGE;
      for (const { start, end } of held.ranges) {
        runs.push({ sequence, start, length: end - start, row });
        row += end - start;
      }
      table.push(...held.pages);
    }
    return { block: { runs, rows: table.length * PAGE }, table: new Uint32Array(table) };
  }

  #segments(held: HeldSequence, at: number, rows: number): Segment[] {
    const out: Segment[] = [];
    for (let from = 0; from < rows;) {
      const inPage = (at + from) % PAGE;
      const n = Math.min(PAGE - inPage, rows - from);
      out.push({ row: held.pages[Math.floor((at + from) / PAGE)] * PAGE + inPage, from, count: n });
      from += n;
    }
    return out;
  }
}
