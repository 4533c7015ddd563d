/** A check's result in words. */
import type { Comparison, Place } from "../../engine/compare.ts";
import { formatCount, formatError, formatShare } from "../../lib/format/format.ts";

/** A number as f32 has digits. */
export function sayNumber(x: number): string {
  return Number.isFinite(x) ? Number(x.toPrecision(7)).toString() : Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
}

/** "O", "LSE", or both. */
export function sayCompared({ compared }: Pick<Comparison, "compared">): string {
  return compared.map((part) => (part === "o" ? "O" : "LSE")).join(" and ");
}

/** Where a number is: "rank 1, hop 0, token 23, head 2"; without ranks, "token 23, head 2". */
export function sayPlace({ rank, hop, token, head }: Place, byRank: boolean): string {
  return `${byRank ? `rank ${rank}${hop === null ? "" : `, hop ${hop}`}, ` : ""}token ${
    formatCount(token)
  }, head ${head}`;
}

/** The verdict in one sentence. `byRank`: the result has ranks. */
export function verdict(found: Comparison, byRank: boolean): string {
  const sum = (of: "rows" | "wrong") => found.grid.reduce((all, cell) => all + cell[of], 0);
  const of = `${formatCount(sum("rows"))} rows and heads of ${sayCompared(found)}`;
  if (found.ok) return `Agrees: all ${of} are within their bound.`;
  const [likely] = found.hypotheses;
  const why = likely === undefined
    ? "no fault of the catalogue makes the same numbers"
    : `${likely.name} explains ${formatShare(likely.explains)} of them`;
  const where = sayPlace(found.first!, byRank);
  return `Differs, first at ${where}: ${formatCount(sum("wrong"))} of ${of} are beyond their bound, and ${why}.`;
}

/** A share that is not 0 never reads as 0, nor one below 1 as all. */
export function sayShare(wrong: number, rows: number): string {
  if (wrong === 0) return "0";
  const percent = (100 * wrong) / rows;
  if (percent < 1) return "< 1 %";
  return percent > 99 && wrong < rows ? "> 99 %" : `${Math.round(percent)} %`;
}

/** How far a number is off. */
export function sayApart(apart: number): string {
  return apart >= 0.01 ? Number(apart.toPrecision(3)).toString() : formatError(apart);
}

/** What computed: the engine calls plain TypeScript no adapter. */
export function sayAdapter(adapter: string): string {
  return adapter.replace(/^none: /, "");
}

/** The steps of the histogram. */
export function sayStep(upTo: number, before: number): string {
  return upTo === Infinity
    ? `more than ${formatCount(before)} ×, or no number`
    : `up to ${formatCount(upTo)} × the bound`;
}
