/** Cached rows in pages of memory, as each kind of device provides it. */
import type { Segment } from "./pages.ts";
import type { Block } from "./shards.ts";

/** Rows to copy out of a pool: `count` rows from pool row `row` to row `to` of a message. */
export interface Copy {
  readonly row: number;
  readonly to: number;
  readonly count: number;
}

/**
 * Two pools of `PAGE`-row pages that hold cached rows: one of keys, one of values. `KV` is what the device attends to.
 */
export interface PagePool<KV> {
  /** Writes rows of K (the first `rows` rows of data) and V (the rest) to the segments. */
  write(segments: readonly Segment[], data: ArrayBuffer, rows: number): void;
  /** K, then V, of `rows` rows each, with the copies in place. */
  read(copies: readonly Copy[], rows: number): Promise<ArrayBuffer>;
  /** The pages of a table as keys and values to attend to. */
  keys(owner: number, view: { readonly block: Block; readonly table: Uint32Array<ArrayBuffer> }): KV;
  destroy(): void;
}
