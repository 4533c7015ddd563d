/** Rows of O that this page recomputed, and the verdict on them. */

/** A recomputed row of O. */
export interface VerifiedRow {
  readonly token: number;
  readonly head: number;
  /** The number of keys that it sees. */
  readonly keys: number;
  /** Largest absolute error of the row of O, and the bound there. */
  readonly out: number;
  readonly allowed: number;
  /** Absolute error of its LSE. */
  readonly lse: number;
  readonly pass: boolean;
}

/** The rows that are recomputed so far. */
export interface Verification {
  readonly rows: readonly VerifiedRow[];
  /** The number of rows to recompute. */
  readonly of: number;
  /** The bound in words, from the engine. */
  readonly tolerance?: string;
  /** Seconds that it took. */
  readonly seconds?: number;
}

/** Whether all rows are recomputed and within their bounds; undefined while some are missing. */
export function passed({ rows, of }: Verification): boolean | undefined {
  if (rows.some(({ pass }) => !pass)) return false;
  return rows.length === of ? true : undefined;
}

/** Five decades of error, with the bound and the worst row in the upper ones. Smaller errors are at the floor. */
export function decades(worst: VerifiedRow | undefined): readonly [floor: number, ceiling: number] {
  if (worst === undefined) return [-9, -4];
  const most = Math.max(worst.allowed, Math.min(worst.out, 1e3));
  const ceiling = Math.ceil(Math.log10(most) + 0.3);
  return [ceiling - 5, ceiling];
}

/** The row whose error of O is the largest share of its bound. */
export function worstOf(rows: readonly VerifiedRow[]): VerifiedRow | undefined {
  return rows.reduce<VerifiedRow | undefined>(
    (worst, row) => (worst === undefined || row.out / row.allowed > worst.out / worst.allowed ? row : worst),
    undefined,
  );
}
