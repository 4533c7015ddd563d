/** The difference of two figures. */
import { formatCount } from "../../lib/format/format.ts";

/** How much larger one figure is than another, as a share: 0.1 is 10 % more. Undefined if one is missing or 0. */
export function apart(figure: number | undefined, than: number | undefined): number | undefined {
  return figure === undefined || than === undefined || !(than > 0) ? undefined : figure / than - 1;
}

/** A difference in words: "+12.3 %", "−4.0 %"; from ten times or a tenth on, a factor: "× 1,200", "÷ 40". */
export function sayApart(share: number | undefined): string {
  if (share === undefined) return "–";
  if (share >= 9.995) return `× ${formatCount(Math.round(share + 1))}`;
  if (share <= -0.8995) return share === -1 ? "÷ ∞" : `÷ ${formatCount(Math.round(1 / (1 + share)))}`;
  const text = (100 * share).toFixed(1);
  return `${Number(text) > 0 ? "+" : Number(text) < 0 ? "−" : "±"}${text.replace("-", "")} %`;
}
