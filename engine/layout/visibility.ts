/** The KV rows that each query row may see, as ranges: the mask of every kernel and back-end. */
import { endSeen, firstSeen, type Mask, sinkTokensOf } from "./mask.ts";
import { type Block, bySequence, type Run } from "./shards.ts";

/** Query rows of one sequence beside the KV rows of the same sequence that some of them see. */
export interface View {
  /** First query row. */
  readonly row: number;
  /** Query rows. */
  readonly rows: number;
}

/**
 * A range of KV rows for each query row r, padding included: rows `band[2r] <= k < band[2r+1]`. Within a view, neither
 * bound falls from one row to the next.
 */
export type Band = Uint32Array<ArrayBuffer>;

/** The mask of one attention call. */
export interface Visibility {
  /** The sequences of the queries. */
  readonly views: readonly View[];
  /** What each query row sees: one range, and before it a second one if the mask has sink tokens. They share no row. */
  readonly bands: readonly Band[];
  /** Visible query-key pairs, for FLOPs: attention costs 2 (D + Dv) FLOPs per pair and query head. */
  readonly pairs: number;
}

/**
 * The mask of query block `q` against KV block `kv`, by absolute position. Positions ascend within a sequence of a
 * block, so the keys that a query sees lie in adjacent rows: a prefix of its sequence's rows if the mask is causal.
 */
export function visibility(q: Block, kv: Block, mask: Mask): Visibility {
  const keys = bySequence(kv);
  const sinks = sinkTokensOf(mask);
  const near: Band = new Uint32Array(2 * q.rows);
  const first: Band = new Uint32Array(sinks > 0 ? 2 * q.rows : 0);
  const views: View[] = [];
  let pairs = 0;
  for (const [sequence, runs] of bySequence(q)) {
    const held = keys.get(sequence) ?? [];
    const [from, to] = [rowCursor(held), rowCursor(held)];
    const start = held[0]?.row ?? 0;
    const sinkEnd = rowCursor(held)(sinks);
    for (const run of runs) {
      for (let i = 0; i < run.length; i++) {
        const at = 2 * (run.row + i);
        near[at] = from(firstSeen(mask, run.start + i));
        near[at + 1] = to(endSeen(mask, run.start + i));
        pairs += near[at + 1] - near[at];
        if (sinks > 0) {
          first[at] = start;
          first[at + 1] = Math.max(start, Math.min(sinkEnd, near[at]));
          pairs += first[at + 1] - first[at];
        }
      }
    }
    views.push({ row: runs[0].row, rows: runs.reduce((sum, run) => sum + run.length, 0) });
  }
  return { views, bands: sinks > 0 ? [first, near] : [near], pairs };
}

/** Finds the row of the first key at or after a position, in the runs of one sequence. Positions must not fall. */
function rowCursor(held: readonly Run[]): (position: number) => number {
  let r = 0;
  return (position) => {
    while (r < held.length && held[r].start + held[r].length <= position) r++;
    if (r < held.length) return held[r].row + Math.max(0, position - held[r].start);
    return held.length === 0 ? 0 : held[r - 1].row + held[r - 1].length;
  };
}
