/** Measured, planned and printed figures side by side, one table per variant. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { ACCELERATORS } from "../../engine/plan.ts";
import "../../lib/elements/scroll.ts";
import { formatFlopRate, formatTime } from "../../lib/format/format.ts";
import { apart, sayApart } from "./apart.ts";
import type { Comparison, Figure } from "./terms.ts";
import type { Variant } from "../../engine/run.ts";

/** What the tables show besides their figures. */
export interface Against {
  /** The row to plan on, and the one nearest to the machine. */
  readonly accelerator: string;
  readonly nearest: string | undefined;
  readonly device: string;
  readonly recorded: boolean;
  readonly choose: (accelerator: string | undefined) => void;
}

/** Tables of the variants that ran, and the choice of the row to plan on. */
export function termsTable(
  all: readonly { readonly variant: Variant; readonly comparison: Comparison }[],
  against: Against,
): TemplateResult {
  const notes = [...new Set(all.flatMap(({ comparison: { notes } }) => notes))];
  const cells = [
    ...new Set(
      all.flatMap(({ comparison: { figures } }) =>
        figures.flatMap(({ paper }) => (paper === undefined ? [] : [`${paper.table}: ${paper.label}`]))
      ),
    ),
  ];
  return html`<section aria-labelledby="compared" class="compared">
    <h2 id="compared" class="title">Measured, planned, printed</h2>
    <p class="against"><label>Planned on <select aria-label="Hardware row to plan on" @change=${(event: Event) =>
    against.choose((event.target as HTMLSelectElement).value)}>
      ${
    ACCELERATORS.map(({ name, label }) =>
      html`<option value=${name} ?selected=${name === against.accelerator}>${label}${
        name === against.nearest ? ", nearest to the machine" : ""
      }</option>`
    )
  }</select></label></p>
    <p class="quiet">${
    against.nearest === undefined
      ? html`<b>No row of the planner is a ${against.device}</b>. A plan for another machine shows their distance, and
        measures neither.`
      : `The row nearest to ${against.device} is ${against.nearest}.`
  }</p>
    ${all.map(({ variant, comparison: one }) => table(variant, one, against.recorded))}
    <ul class="sources quiet">
      <li><b>Measured</b>: the ${
    against.recorded ? "recorded " : ""
  }run on ${against.device}, each time of the slowest rank${
    all[0]?.comparison.said.length
      ? html`; ${[...new Set(all.flatMap(({ comparison: { said } }) => said))].join("; ")}`
      : nothing
  }.</li>
      <li><b>Planned</b>: the planner’s simulation on ${all[0]?.comparison.on ?? "–"}${
    notes.length === 0 ? "" : `; ${notes.join("; ")}`
  }.</li>
      <li><b>Paper</b>: ${
    cells.length === 0
      ? "arXiv 2411.01783 prints no figure for this experiment"
      : `arXiv 2411.01783, ${cells.join("; ")}, on H100 96 GB over Grand Teton’s fabric`
  }.</li>
      <li>Differences: +10 % means that the measured figure is a tenth more than the planned or printed one.</li>
    </ul>
  </section>`;
}

function table(variant: Variant, { figures }: Comparison, recorded: boolean): TemplateResult {
  const paper = figures.some((f) => f.paper !== undefined);
  const value = (
    unit: Figure["unit"],
    figure: number | undefined,
  ) => (figure === undefined ? "–" : unit === "s" ? formatTime(figure) : formatFlopRate(figure));
  return html`
    <ringside-scroll label="${sayVariant(variant)}, term by term">
      <table class="terms">
        <caption>${sayVariant(variant)}, term by term</caption>
        <thead>
          <tr><th scope="col">Term</th><th scope="col">${recorded
            ? "Recorded"
            : "Measured"}</th><th scope="col">Planned</th><th scope="col">Differs</th>${paper
            ? html`
              <th scope="col">Paper</th>
              <th scope="col">Differs</th>
            `
            : nothing}</tr>
        </thead>
        <tbody>${figures.map(({ id, label, unit, measured, origin, planned, paper: print }) =>
          html`
            <tr
              class=${["whole", "ttft", "layer"].includes(id)
                ? "sum"
                : ""}><th scope="row">${label}${origin === undefined
                ? nothing
                : html`<small>${origin}</small>`}</th><td><b>${value(unit, measured)}</b></td><td>${value(
                  unit,
                  planned,
                )}</td><td class="apart">${sayApart(apart(measured, planned))}</td>
                  ${paper
                    ? html`
                      <td title=${print === undefined ? nothing : `${print.table}: ${print.label}`}>${value(
                        unit,
                        print?.value,
                      )}</td>
                      <td class="apart">${sayApart(apart(measured, print?.value))}</td>
                    `
                    : nothing}</tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}
