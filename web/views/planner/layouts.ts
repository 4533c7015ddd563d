/** All layouts up to a number of GPUs: which fit, and which are worth their GPUs. */
import { html, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import type { Sweep, SweepRow } from "../../engine/plan.ts";
import "../../lib/elements/scroll.ts";
import { formatBytes, formatShare, formatTime } from "../../lib/format/format.ts";
import type { Question } from "../../lib/address/plan.ts";

/** The most GPUs of a layout in the table. */
export const MAX_GPUS = 128;

/** The Pareto front first, the rest on demand. */
export function layoutTable(sweep: Sweep, question: Question, pick: (row: SweepRow) => void): TemplateResult {
  const table = (rows: readonly SweepRow[], label: string, caption: unknown) =>
    html`
      <ringside-scroll label=${label}>
        <table class="layouts">
          <caption>${caption}</caption>
          <thead>
            <tr>
              <th scope="col">GPUs</th>
              <th scope="col">Layout</th>
              <th scope="col">Variant</th>
              <th scope="col">${question.step === "decode" ? "TTIT" : "TTFT"}</th>
              <th scope="col">Memory per GPU</th>
              <th scope="col">Efficiency</th>
            </tr>
          </thead>
          <tbody>${rows.map((row) =>
            html`
              <tr class=${row.cp === question.cp && row.tp === question.tp ? "now" : ""}>
                <td>${row.gpus}</td>
                <td><button class="link" @click=${() => pick(row)}>CP${row.cp} × TP${row.tp}</button></td>
                <td>${row.cp === 1 ? "–" : sayVariant(row.variant)}</td>
                <td>${formatTime(row.seconds)}</td>
                <td>${formatBytes(row.memory)}${row.fits ? "" : " ✗ does not fit"}</td>
                <td>${formatShare(row.parallelEfficiency)}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
    `;
  return html`${
    table(
      sweep.pareto,
      "Layouts worth their GPUs",
      html`Layouts worth their GPUs <small>for this step on up to ${MAX_GPUS} GPUs: no layout that fits on as many or
        fewer GPUs is faster (the Pareto front)</small>`,
    )
  }
    <details><summary>All ${sweep.rows.length} layouts tried</summary>${
    table(sweep.rows, "All layouts", html`<span class="unseen">All layouts</span>`)
  }</details>`;
}
