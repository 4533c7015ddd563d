/** Serves a request on a thread that verifies: sends its rows as they are done. */
import { recompute } from "./recompute.ts";
import type { ExactRow, IndexedRows, SeededBatch } from "./types.ts";

/** The rows to compute. */
export interface Request {
  readonly batch: SeededBatch;
  readonly rows: IndexedRows;
}

/** Progress with the rows done since the last answer, then the end. */
export type Answer =
  | { readonly kind: "tile"; readonly pairs: number; readonly rows: readonly ExactRow[] }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string };

/** Milliseconds between two answers with progress. */
const PERIOD = 100;

/** Serves one request; answers by `post`. */
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
