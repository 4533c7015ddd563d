/** A check's bounds in words: the largest share that an element uses, and that element. */
import type { Check } from "./judge.ts";
import { formatCount, formatError, formatShare } from "../format/format.ts";

/** The largest share of its bound that an element uses: "4.2 %", "120 times as much". */
export function sayShare({ out, lse }: Pick<Check, "out" | "lse">): string {
  const share = Math.max(out.share, lse.share);
  if (share === Infinity) return "infinitely more";
  return share < 10 ? formatShare(share) : `${formatCount(share)} times as much`;
}

/** The element: "O of row 12, head 3, column 5: found 0.25, expected 0.5 within 1.2e-7". */
export function sayWorst({ worst: { tensor, row, head, column, found, expected, allowed } }: Check): string {
  const where = `${tensor} of row ${formatCount(row)}, head ${head}${column === undefined ? "" : `, column ${column}`}`;
  return `${where}: found ${found}, expected ${expected} within ${formatError(allowed)}`;
}
