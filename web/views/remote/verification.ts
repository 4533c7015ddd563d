/** Rows of O that this page recomputed, and what they come to. */

/** A row of O that was recomputed. */
export interface VerifiedRow {
  readonly token: number;
  readonly head: number;
  /** Keys that it sees. */
  readonly keys: number;
  /** Largest absolute error of the row of O, and what was allowed there. */
  readonly out: number;
  readonly allowed: number;
  /** Absolute error of its LSE. */
  readonly lse: number;
  readonly pass: boolean;
}

/** What recomputing rows has come to so far. */
export interface Verification {
  readonly rows: readonly VerifiedRow[];
  /** How many were asked for. */
  readonly of: number;
  /** What is allowed, in words. */
  readonly tolerance?: string;
  /** Seconds that recomputing took. */
  readonly seconds?: number;
}

/**
 * Whether all the rows asked for were recomputed and are within what is allowed; undefined while some are not there
 * yet.
 */
export function passed({ rows, of }: Verification): boolean | undefined {
  if (rows.some(({ pass }) => !pass)) return false;
  return rows.length === of ? true : undefined;
}

/** Five decades of error, the bar and the worst row in the upper ones; what is smaller is drawn at the floor. */
export function decades(worst: VerifiedRow | undefined): readonly [floor: number, ceiling: number] {
  if (worst === undefined) return [-9, -4];
  const most = Math.max(worst.allowed, Math.min(worst.out, 1e3));
  const ceiling = Math.ceil(Math.log10(most) + 0.3);
  return [ceiling - 5, ceiling];
}

/** The row that comes nearest to what is allowed of O, or goes farthest beyond. */
export function worstOf(rows: readonly VerifiedRow[]): VerifiedRow | undefined {
  return rows.reduce<VerifiedRow | undefined>(
    (worst, row) => (worst === undefined || row.out / row.allowed > worst.out / worst.allowed ? row : worst),
    undefined,
  );
}
