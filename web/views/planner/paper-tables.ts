/** The paper's printed figures beside the planner's, with errors, and the cells that calibrate each parameter. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { type GroupError, type PaperReport, type PaperRow, PROVENANCE } from "../../engine/plan.ts";
import "../../lib/elements/scroll.ts";
import { formatCount, formatShare } from "../../lib/format/format.ts";
import { onPaper } from "./state.ts";
import type { Question } from "../../lib/address/plan.ts";
import { sayError } from "./words.ts";

const groups: readonly (readonly [keyof PaperReport["errors"], string])[] = [
  ["ttft", "TTFT"],
  ["part", "Parts of Table 5"],
  ["ttit", "TTIT"],
  ["decode", "Table 8, decode"],
  ["claim", "Claims in the text"],
];

/** How far to trust a plan. */
export function trust(
  { errors }: PaperReport,
  question: Question,
): TemplateResult {
  const [name, { predicted, cells, median }] = question.step === "decode"
    ? ["TTIT", errors.ttit] as const
    : ["TTFT", errors.ttft] as const;
  return html`A prediction, not a measurement. On the paper’s ${cells} printed ${name} cells the median error is ${
    formatShare(median)
  }. On the ${predicted.cells} cells outside the calibration it is ${formatShare(predicted.median)}, at worst ${
    formatShare(predicted.worst)
  }.${onPaper(question) ? "" : " No cell covers this model, mask and hardware."}`;
}

/** Errors by group, parameters with their cells, every cell by table, and contradictions. */
export function paperTables(report: PaperReport): TemplateResult {
  const tables = [...new Set(report.rows.map(({ table }) => table))];
  const label = (id: string) => report.rows.find((row) => row.id === id);
  return html`
    <div class="pair">
      <ringside-scroll label="Errors">
        <table>
          <caption>Errors <small>of the model against the printed figures; absolute, relative</small></caption>
          <thead>
            <tr>
              <th scope="col">Figures</th>
              <th scope="col">Cells</th>
              <th scope="col">Median</th>
              <th scope="col">Worst</th>
              <th scope="col">Predicted</th>
              <th scope="col">Median</th>
              <th scope="col">Worst</th>
            </tr>
          </thead>
          <tbody>${groups.map(([key, name]) => errorRow(name, report.errors[key]))}</tbody>
        </table>
      </ringside-scroll>
      <ringside-scroll label="TTFT errors, cell by cell">${strip(report)}</ringside-scroll>
    </div>
      <details>
      <summary>Parameters: ${PROVENANCE.length}, and the cells that fix them</summary>
      <ringside-scroll label="Parameters">
        <table class="wordy">
          <caption class="unseen">Parameters</caption>
          <thead>
            <tr>
              <th scope="col">Parameter</th>
              <th scope="col">Value</th>
              <th scope="col">From</th>
              <th scope="col">Calibrated on</th>
              <th scope="col">Meaning</th>
            </tr>
          </thead>
          <tbody>${PROVENANCE.map(({ name, unit, kind, cells, meaning }) =>
            html`
              <tr>
                <th scope="row"><code>${name}</code></th>
                <td>${unit === "share"
                  ? report.parameters[name]
                  : report.parameters[name] >= 1e-3
                  ? `${Number((report.parameters[name] * 1e3).toPrecision(4))} ms`
                  : `${Number((report.parameters[name] * 1e6).toPrecision(4))} µs`}</td>
                <td>${kind}</td>
                <td>${cells.map((id) => html`<span>${label(id)?.table}: ${label(id)?.label}</span>`)}</td>
                <td>${meaning}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
    </details>
      ${tables.map((table) => {
        const rows = report.rows.filter((row) => row.table === table);
        return html`
          <details>
            <summary>${table}: ${rows.length} cells</summary>
            <ringside-scroll label=${table}>
              <table class="cells">
                <caption class="unseen">${table}</caption>
                <thead>
                  <tr>
                    <th scope="col">Cell</th>
                    <th scope="col">Paper</th>
                    <th scope="col">Model</th>
                    <th scope="col">Unit</th>
                    <th scope="col">Error</th>
                    <th scope="col">Origin</th>
                  </tr>
                </thead>
                <tbody>${rows.map(cellRow)}</tbody>
              </table>
            </ringside-scroll>
            ${table === "Table 4" ? winners(report) : nothing}
          </details>
        `;
      })}
      <details>
      <summary>Where the paper contradicts itself: ${report.contradictions.length} places</summary>
      <ul class="list">${report.contradictions.map(({ what }) => html`<li>${what}</li>`)}</ul>
    </details>
  `;
}

function errorRow(name: string, { cells, median, worst, predicted }: GroupError): TemplateResult {
  return html`
    <tr>
      <th scope="row">${name}</th>
      <td>${cells}</td>
      <td>${formatShare(median)}</td>
      <td>${formatShare(worst)}</td>
      <td>${predicted.cells}</td>
      <td>${formatShare(predicted.median)}</td>
      <td>${formatShare(predicted.worst)}</td>
    </tr>
  `;
}

function number(value: number): string {
  return Math.abs(value) >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

function cellRow(row: PaperRow): TemplateResult {
  const remarks = [
    row.fixes.length > 0 ? `fixes ${row.fixes.join(", ")}` : "",
    row.excluded === undefined ? "" : `outside the bars: ${row.excluded}`,
    row.note ?? "",
    row.contradicts.length > 0 ? `contradicted: ${row.contradicts.join("; ")}` : "",
  ].filter((part) => part !== "");
  const large = row.error !== null &&
    Math.abs(row.error) > (row.group === "ttit" || row.group === "decode" ? 0.2 : 0.1) && row.origin !== "formula";
  return html`
    <tr>
      <th scope="row">${row.label}${remarks.length === 0 ? nothing : html`<small>${remarks.join(". ")}</small>`}</th>
      <td>${number(row.paper)}</td>
      <td>${number(row.model)}</td>
      <td>${row.unit}</td>
      <td>${large ? html`<b class="wrong">${sayError(row.error)}</b>` : sayError(row.error)}</td>
      <td>${row.origin}</td>
    </tr>
  `;
}

function winners({ winners: rows }: PaperReport): TemplateResult {
  return html`
    <ringside-scroll label="Which variant wins">
      <table>
        <caption>Which variant wins</caption>
        <thead>
          <tr>
            <th scope="col">T</th>
            <th scope="col">Paper</th>
            <th scope="col">Model</th>
            <th scope="col">Apart</th>
            <th scope="col">Model is</th>
          </tr>
        </thead>
        <tbody>${rows.map((row) =>
          html`
            <tr>
              <th scope="row">${formatCount(row.new)}</th>
              <td>${sayVariant(row.paper)}</td>
              <td>${sayVariant(row.model)}</td>
              <td>${formatShare(row.apart)}</td>
              <td>${row.agrees ? "right" : row.nearTie ? "wrong, a near-tie" : html`<b class="wrong">wrong</b>`}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/**
 * Every TTFT cell as a mark at its error: filled if predicted, hollow if used for calibration. The tables below have
 * the same as text.
 */
function strip({ rows }: PaperReport): TemplateResult {
  const cells = rows.filter((row) => row.group === "ttft" && row.excluded === undefined);
  const tables = [...new Set(cells.map(({ table }) => table))];
  const most = 0.12;
  return html`
    <figure class="strip" role="img"
      aria-label="TTFT errors, cell by cell: all ${cells.length} lie within 12 percent; the tables below list them.">
        <h2>TTFT errors, cell by cell <small>● predicted ○ used for calibration</small></h2>
        ${tables.map((table) =>
          html`<div><span>${table}</span><span class="track">${
            cells.filter((row) => row.table === table).map((row) =>
              html`<i class=${row.origin} title="${row.label}: ${sayError(row.error)}" style="left:${
                50 + (50 * Math.max(-most, Math.min(most, row.error!))) / most
              }%"></i>`
            )
          }</span></div>`
        )}
        <div class="ticks"><span></span><span class="track"><b style="left:${50 -
          50 / 1.2}%">−10 %</b><b style="left:50%">0</b><b style="left:${50 + 50 / 1.2}%">+10 %</b></span></div>
      </figure>
  `;
}
