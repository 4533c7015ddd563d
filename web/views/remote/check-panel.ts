/** The GPU check's document: its bars first, then every figure as a table. */
import { html, nothing, type TemplateResult } from "lit";
import "../../elements/scroll.ts";
import type { CheckDocument, Figures } from "./check-document.ts";

/** All of it. */
export function checkPanel({ gpu, bars, figures }: CheckDocument): TemplateResult {
  return html`<section aria-labelledby="check"><h2 id="check" class="title">GPU check ${gpu ? nothing : html`<small class="wrong">not run on a GPU</small>`}</h2>
    ${gpu ? nothing : html`<p class="stale"><b>Not run on a GPU.</b> This document was made on a CPU: its times say that the check works, and nothing of how fast a GPU is.</p>`}
    ${bars.length === 0 ? html`<p class="quiet">It names no bars.</p>` : html`<ringside-scroll label="Bars"><table class="bars">
      <caption>Bars</caption>
      <thead><tr><th scope="col">Bar</th><th scope="col">Measured</th><th scope="col">Allowed</th><th scope="col">Met</th></tr></thead>
      <tbody>${bars.map(({ name, measured, bar, pass }) => html`<tr><th scope="row">${name}</th><td>${measured}</td><td>${bar}</td><td>${pass === undefined ? html`<span class="quiet">not measured</span>` : pass ? html`<b class="good">met</b>` : html`<b class="wrong">missed</b>`}</td></tr>`)}</tbody>
    </table></ringside-scroll>`}
  </section>
  ${figures.map(table)}`;
}

function table({ name, columns, rows }: Figures): TemplateResult {
  const named = columns.some((column) => column !== "");
  return html`<ringside-scroll label=${name}><table>
    <caption>${name}</caption>
    ${named ? html`<thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead>` : nothing}
    <tbody>${rows.map(([first, ...rest]) => html`<tr><th scope="row">${first}</th>${rest.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
  </table></ringside-scroll>`;
}
