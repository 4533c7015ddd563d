/** `ringside paper`: compares every printed figure of the paper with the planner's, and gives the error. */
import { type GroupError, type PaperReport, paperReport, type PaperRow } from "../plan/paper/report.ts";
import { PROVENANCE } from "../plan/parameters.ts";
import { OPTION, optionLines } from "./help.ts";
import type { Io } from "./io.ts";
import { parseOptions } from "./options.ts";
import { table } from "./table.ts";

const HELP = `ringside paper: compares Tables 2 to 8 and the headline figures of arXiv 2411.01783 with the planner

${optionLines(OPTION.json, OPTION.runtime)}

A calibrated cell fixed one of the planner's parameters. A predicted cell fixed none.
`;

/** The figures of each group of errors. */
const GROUPS: Readonly<Record<keyof PaperReport["errors"], string>> = {
  ttft: "TTFT",
  part: "Table 5's parts",
  ttit: "TTIT",
  decode: "Table 8",
  claim: "claims",
};

/** The command. */
export async function paper(
  argv: readonly string[],
  io: Pick<Io, "stdout" | "stderr"> & Partial<Pick<Io, "signal">>,
): Promise<number> {
  const o = parseOptions(argv, { json: { type: "boolean" }, help: { type: "boolean", short: "h" } });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  const report = await paperReport(undefined, io.signal);
  io.stdout(o.json ? `${JSON.stringify(report)}\n` : paperText(report));
  return 0;
}

/**
 * The report as text: one table after the other, then the errors, the winners, the parameters and the contradictions.
 */
export function paperText(report: PaperReport): string {
  const names = [...new Set(report.rows.map((r) => r.table))];
  const tables = names.map((name) =>
    `${name}\n${
      table(
        ["cell", "paper", "model", "unit", "error", "origin", ""],
        report.rows.filter((r) => r.table === name).map(cells),
      )
    }`
  );
  return `${
    [...tables, errorsText(report), winnersText(report), parametersText(report), contradictionsText(report)].join(
      "\n\n",
    )
  }\n`;
}

/** The errors of each group as a table. */
export function errorsText(report: PaperReport): string {
  const rows = (Object.keys(GROUPS) as (keyof typeof GROUPS)[]).map((
    name,
  ) => [GROUPS[name], ...errorCells(report.errors[name])]);
  return `Errors\n${
    table(["figures", "cells", "median", "worst", "worst cell", "predicted", "median", "worst"], rows)
  }`;
}

/** The parameters and their cells as a table. */
export function parametersText(report: PaperReport): string {
  const rows = PROVENANCE.map((
    p,
  ) => [p.name, valueText(report.parameters[p.name], p.unit), p.kind, p.cells.join(" "), p.meaning]);
  return `Parameters\n${table(["name", "value", "from", "cells", "meaning"], rows)}`;
}

function winnersText(report: PaperReport): string {
  const rows = report.winners.map((
    w,
  ) => [
    w.new,
    w.paper,
    w.model,
    `${(w.apart * 100).toFixed(1)} %`,
    w.agrees ? "right" : w.nearTie ? "near-tie" : "WRONG",
  ]);
  return `Table 4: which variant wins\n${table(["T", "paper", "model", "apart", ""], rows)}`;
}

function contradictionsText(report: PaperReport): string {
  return `Where the paper contradicts itself\n${
    report.contradictions.map((c) => `- ${c.what}${c.cells.length === 0 ? "" : ` [${c.cells.join(", ")}]`}`).join("\n")
  }`;
}

function cells(r: PaperRow): string[] {
  const remark = [
    r.fixes.length > 0 ? `fixes ${r.fixes.join(", ")}` : "",
    r.excluded === undefined ? "" : `outside the bars: ${r.excluded}`,
    r.note ?? "",
    r.contradicts.length > 0 && r.excluded === undefined ? "contradicted" : "",
  ];
  return [
    r.label,
    figure(r.paper),
    figure(r.model),
    r.unit,
    r.error === null ? "" : percent(r.error),
    r.origin,
    remark.filter((text) => text !== "").join("; "),
  ];
}

function errorCells(e: GroupError): (string | number)[] {
  const share = (value: number) => `${(value * 100).toFixed(1)} %`;
  return [
    e.cells,
    share(e.median),
    share(e.worst),
    e.worstCell,
    e.predicted.cells,
    share(e.predicted.median),
    share(e.predicted.worst),
  ];
}

function figure(value: number): string {
  return value === 0 ? "0" : Math.abs(value) >= 1e6 ? value.toExponential(3) : Number(value.toPrecision(5)).toString();
}

function percent(share: number): string {
  return `${share >= 0 ? "+" : ""}${(share * 100).toFixed(1)} %`;
}

function valueText(value: number, unit: "share" | "s"): string {
  return unit === "share"
    ? value.toFixed(4)
    : value < 1e-4
    ? `${(value * 1e6).toFixed(2)} µs`
    : `${(value * 1e3).toFixed(4)} ms`;
}
