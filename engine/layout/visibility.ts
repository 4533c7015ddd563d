/** The KV rows that each query row may see, as ranges: the mask of every kernel and back-end. */
import { type Block, bySequence } from "./shards.ts";

/** Query rows of one sequence beside the KV rows of the same sequence that some of them see. */
export interface View {
  /** First query row. */
  readonly row: number;
  /** Query rows. */
  readonly rows: number;
  /** First KV row of the sequence: query row r sees KV rows `first <= k < ends[r]`. */
  readonly first: number;
}

/** The mask of one attention call. */
export interface Visibility {
  /** The sequences whose keys some query sees. */
  readonly views: readonly View[];
  /**
   * For each query row, padding included: one past the last KV row it sees. Equals its view's `first` if it sees none.
   */
  readonly ends: Uint32Array<ArrayBuffer>;
  /** Visible query-key pairs, for FLOPs: attention costs 4 D FLOPs per pair and query head. */
  readonly pairs: number;
}

/**
 * The mask of query block `q` against KV block `kv`. Causal masks are bottom-right and by absolute position: a query at
 * position p sees the keys at positions <= p of its sequence. Positions ascend within a sequence of a block, so a query
 * sees a prefix of that sequence's rows.
 */
export function visibility(q: Block, kv: Block, causal: boolean): Visibility {
  const keys = bySequence(kv);
  const ends = new Uint32Array(q.rows);
  const views: View[] = [];
  let pairs = 0;
  for (const [sequence, runs] of bySequence(q)) {
    const held = keys.get(sequence) ?? [];
    const first = held[0]?.row ?? 0;
    const last = held.length === 0 ? first : held[held.length - 1].row + held[held.length - 1].length;
    let r = 0;
    for (const run of runs) {
      for (let i = 0; i < run.length; i++) {
        let end = last;
        if (causal) {
          const position = run.start + i;
          while (r < held.length && held[r].start + held[r].length <= position) r++;
          end = r === held.length ? last : held[r].row + Math.max(0, position + 1 - held[r].start);
        }
        ends[run.row + i] = end;
        pairs += end - first;
      }
    }
    const rows = runs.reduce((sum, run) => sum + run.length, 0);
    views.push({ row: runs[0].row, rows, first });
  }
  return { views, ends, pairs };
}
