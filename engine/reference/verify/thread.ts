/** What a thread that verifies does: one request, then its rows as they are done. */
import { recompute } from "./recompute.ts";
import type { ExactRow, IndexedRows, SeededBatch } from "./types.ts";

/** What it is asked. */
export interface Request {
  readonly batch: SeededBatch;
  readonly rows: IndexedRows;
}

/** What it answers: progress with the rows done since, then its end. */
export type Answer =
  | { readonly kind: "tile"; readonly pairs: number; readonly rows: readonly ExactRow[] }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string };

/** Milliseconds between two reports of progress. */
const PERIOD = 100;

/** Serves a request. */
export function serve({ batch, rows }: Request, post: (answer: Answer) => void): void {
  try {
    let [pairs, since] = [0, performance.now()];
    for (const tile of recompute(batch, rows)) {
      pairs += tile.pairs;
      if (tile.rows.length === 0 && performance.now() - since < PERIOD) continue;
      post({ kind: "tile", pairs, rows: tile.rows });
      [pairs, since] = [0, performance.now()];
    }
    if (pairs > 0) post({ kind: "tile", pairs, rows: [] });
    post({ kind: "done" });
  } catch (error) {
    post({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
}
