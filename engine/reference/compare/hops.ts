/** One row and head hop by hop: what is right in float64, beside what somebody computed there. */
import type { Comparison, Place } from "./compare.ts";
import { Allowance, type Off, worstOf } from "./judge.ts";
import { foundAt, type Piece, type Problem } from "./problem.ts";
import { merged, Rows, type RowValues } from "./row.ts";
import type { Setting } from "./setting.ts";

/** A hop of the row, or its final result. */
export interface RowHop {
  /** Null: the final result. */
  readonly hop: number | null;
  /** The rank whose keys the row met; null in the final result. */
  readonly keys: number | null;
  /** Keys that the row saw there. */
  readonly seen: number;
  /** The right LSE: of the hop alone or of all so far, as theirs is. */
  readonly expected: number;
  /** Theirs; null if the files hold none. */
  readonly found: number | null;
  /** The element of O that is farthest off; null if the files hold no O of this hop. */
  readonly worst: { readonly column: number; readonly found: number; readonly expected: number } | null;
  /** What is beyond its bound; null if nothing is, or if there is nothing to compare. */
  readonly off: Off | null;
}

/** The hops of the row and head of `place`, then its final result if theirs has one. */
export function rowHops(
  problem: Problem,
  pieces: readonly Piece[],
  setting: Setting | undefined,
  reading: Comparison["reading"],
  { token, head, rank }: Pick<Place, "token" | "head" | "rank">,
): RowHop[] {
  const rows = new Rows(problem);
  const allowance = new Allowance(problem);
  const sinkless = { sink: -Infinity };
  const beside = (
    hop: number | null,
    keys: number | null,
    seen: Int32Array | readonly number[],
    right: RowValues,
    piece?: Piece,
    over = seen,
  ): RowHop => {
    const place = piece?.rows.indexOf(token) ?? -1;
    const found = piece === undefined || place < 0
      ? {}
      : foundAt({ piece, place, row: token, head }, problem.heads, rows.valueDim);
    const { o, lse } = found;
    let worst: RowHop["worst"] = null;
    for (let column = 0; column < (o?.length ?? 0); column++) {
      const [a, b] = [o![column], right.o[column]];
      const distance = (x: number, y: number) => Number.isNaN(x - y) ? Infinity : Math.abs(x - y);
      if (worst === null || distance(a, b) > distance(worst.found, worst.expected)) {
        worst = { column, found: a, expected: b };
      }
    }
    // sqrt(sum p^2) is in the LSE of twice the scores.
    const squares = rows.attend(token, head, { keys: over, scale: 2 * rows.scale, ...sinkless }).lse;
    const spread = squares === -Infinity ? 0 : Math.min(1, Math.exp(squares / 2 - right.lse));
    const off = worstOf(found, right, allowance.of(token, head, { ...right, spread })) ?? null;
    return { hop, keys, seen: seen.length, expected: right.lse, found: lse ?? null, worst, off };
  };
  const out: RowHop[] = [];
  if (setting !== undefined && setting.ranks > 1) {
    const home = setting.rows.findIndex((own) => own.includes(token));
    const before: RowValues[] = [];
    let all: number[] = [];
    for (let hop = 0; hop < setting.ranks; hop++) {
      const owner = setting.keysMet(home, hop);
      const keys = rows.seen(token, rows.mask, setting.keys[owner]);
      const alone = rows.attend(token, head, { keys, ...sinkless });
      before.push(alone);
      // Not push: keys may be more than a call takes arguments.
      all = [...all, ...keys];
      const soFar = reading === "so-far";
      const at = setting.variant === "pass-kv" ? home : owner;
      const piece = pieces.find((one) => one.hop === hop && one.rank === at);
      out.push(beside(hop, owner, keys, soFar ? merged(before) : alone, piece, soFar ? all : keys));
    }
  }
  const final = pieces.find((one) => one.hop === undefined && one.rank === rank);
  if (final !== undefined) out.push(beside(null, null, rows.seen(token), rows.attend(token, head), final));
  return out;
}
