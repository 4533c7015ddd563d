/** The GPU check's document: its bars, every figure as a table, and what was left out. */
import { html, nothing, type TemplateResult } from "lit";
import "../../lib/elements/scroll.ts";
import type { Bar, CheckDocument, Figures } from "./check-document.ts";

/** The whole document. */
export function checkPanel({ gpu, note, bars, figures, skipped }: CheckDocument): TemplateResult {
  return html`<section aria-labelledby="check"><h2 id="check" class="title">GPU check ${
    gpu ? nothing : html`<small class="wrong">not run on a GPU</small>`
  }</h2>
    ${
    gpu
      ? nothing
      : html`<p class="stale"><b>${
        note === ""
          ? "Not run on a GPU: its times show that the check works, not how fast a GPU is"
          : `${note[0].toUpperCase()}${note.slice(1)}`
      }.</b></p>`
  }
    ${
    bars.length === 0 ? html`<p class="quiet">It has no bars.</p>` : html`
      <ringside-scroll label="Bars">
        <table class="bars">
          <caption>Bars</caption>
          <thead>
            <tr>
              <th scope="col">Bar</th>
              <th scope="col">Found</th>
              <th scope="col">Wanted</th>
              <th scope="col">Met</th>
            </tr>
          </thead>
          <tbody>${bars.map((bar) =>
            html`
              <tr>
                <th scope="row">${bar.name}</th>
                <td>${bar.found === undefined ? "–" : short(bar.found)}</td>
                <td>${bar.sense} ${short(bar.bar)}</td>
                <td>${met(bar)}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
    `
  }
  </section>
  ${figures.map(table)}
  ${
    skipped.length === 0 ? nothing : html`
      <section aria-labelledby="skipped">
        <h2 id="skipped">Left out</h2>
        <ul class="sources quiet">${skipped.map((line) => html`<li>${line}</li>`)}</ul>
      </section>
    `
  }`;
}

const short = (value: number): string => String(Number(value.toPrecision(3)));

function met({ passed, why }: Bar): TemplateResult {
  if (passed === undefined) return html`<span class="quiet">${why === "" ? "not judged" : why}</span>`;
  return passed ? html`<b class="good">met</b>` : html`<b class="wrong">missed</b>`;
}

function table({ name, columns, rows }: Figures): TemplateResult {
  return html`
    <ringside-scroll label=${name}>
      <table>
        <caption>${name}</caption>
        <thead>
          <tr>${columns.map((column) => (column === "" ? html`<td></td>` : html`<th scope="col">${column}</th>`))}</tr>
        </thead>
        <tbody>${rows.map(([first, ...rest]) =>
          html`<tr><th scope="row">${first}</th>${rest.map((cell) => html`<td>${cell}</td>`)}</tr>`
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}
