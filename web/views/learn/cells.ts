/** Parts of the chapters' tables: column heads, values that light up together, bars. */
import { html, type TemplateResult } from "lit";

/** A table's head: one column per name; an empty name is a column of bars. */
export function heads(...names: readonly string[]): TemplateResult {
  return html`
    <thead>
      <tr>${names.map((name) => name === "" ? html`<td></td>` : html`<th scope="col">${name}</th>`)}</tr>
    </thead>
  `;
}

/** A cell whose text is a value of the model; `key` is the value's `data-v`. */
export function value(key: string, text: unknown): TemplateResult {
  return html`<td>${lit(key, text)}</td>`;
}

/** A value of the model in a figure. */
export function lit(key: string, text: unknown): TemplateResult {
  return html`<span data-v=${key}>${text}</span>`;
}

/** A cell with a bar: `share` of its width, in the colour of attention unless `fill` names another. */
export function meter(key: string, share: number, fill = "var(--attend)"): TemplateResult {
  return html`<td class="meter"><i aria-hidden="true" data-v=${key} style="width:${
    100 * share
  }%;--fill:${fill}"></i></td>`;
}
