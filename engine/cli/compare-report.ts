/** What `ringside compare` prints. */
import type { Cell, Comparison, Place } from "../reference/compare/compare.ts";
import { table } from "./table.ts";

const count = (n: number) => n.toLocaleString("en-US");
const percent = (share: number) => share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(100 * share)} %`;
const number = (x: number) => (Number.isFinite(x) ? Number(x.toPrecision(6)).toString() : String(x));

/** The verdict for people. */
export function comparisonText(found: Comparison, { adapter, dtype }: { adapter: string; dtype: string }): string {
  const rows = found.grid.reduce((sum, cell) => sum + cell.rows, 0);
  const wrong = found.grid.reduce((sum, cell) => sum + cell.wrong, 0);
  const what = found.compared.map((part) => (part === "o" ? "O" : "LSE")).join(" and ");
  const of = `${count(rows)} rows and heads of ${what}`;
  const partial = found.reading === null
    ? ""
    : found.reading === "hop"
    ? "partials  each is of its hop alone\n"
    : "partials  each is of all hops so far\n";
  const facts = `${partial}bound     ${found.tolerance} (${dtype})\nadapter   ${adapter}\n`;
  if (found.ok) return `agrees    all ${of}\n${facts}`;
  const lines = [
    `differs   ${count(wrong)} of ${of} are beyond their bound (${percent(wrong / rows)})`,
    `first     ${sayPlace(found.first!)}`,
    ...(found.worst === null ? [] : [`worst     ${sayPlace(found.worst)}`]),
  ];
  const likely = found.hypotheses.map(({ name, says, explains, detail, error }) =>
    `  ${name}${detail === undefined ? "" : ` (${detail})`}: ${says}\n` +
    `    makes the same numbers in ${percent(explains)} of the wrong rows tried, within ${number(error)}`
  );
  lines.push(
    likely.length > 0 ? `likely\n${likely.join("\n")}` : "likely    no fault of the catalogue makes the same numbers",
  );
  if (found.note !== undefined) lines.push(`note      ${found.note}`);
  const histogram = found.histogram.filter((step) => step.count > 0).map(({ upTo, count: n }) =>
    `${count(n)} ${upTo === Infinity ? "farther or no number" : `up to ${count(upTo)} times`}`
  );
  return `${lines.join("\n")}\noff by    ${histogram.join(", ")} of the bound\n\n${gridText(found.grid)}\n\n${facts}`;
}

function sayPlace(place: Place): string {
  const { rank, hop, token, sequence, position, head, of, column, found, expected, bound } = place;
  const where = position === token && sequence === 0 ? "" : ` (sequence ${sequence}, position ${position})`;
  const what = of === "o" ? `O[${column}]` : "LSE";
  return `rank ${rank}${
    hop === null ? "" : `, hop ${hop}`
  }, token ${token}${where}, place ${place.place} of its shard, ` +
    `head ${head}: ${what} is ${number(found)}, expected ${number(expected)} within ${bound.toPrecision(2)}`;
}

/** Wrong rows by rank and hop. */
function gridText(grid: readonly Cell[]): string {
  const hops = [...new Set(grid.map(({ hop }) => hop))];
  const ranks = [...new Set(grid.map(({ rank }) => rank))].sort((a, b) => a - b);
  const header = ["wrong rows and heads", ...hops.map((hop) => (hop === null ? "result" : `hop ${hop}`))];
  const cell = (rank: number, hop: number | null) => {
    const found = grid.find((one) => one.rank === rank && one.hop === hop);
    return found === undefined ? "" : `${count(found.wrong)} / ${count(found.rows)}`;
  };
  return table(header, ranks.map((rank) => [`rank ${rank}`, ...hops.map((hop) => cell(rank, hop))]));
}
