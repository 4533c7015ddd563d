/** Facts as a list of names and values. */
import { html, type TemplateResult } from "lit";

/** Rows in the given order; a value is whatever a template can show. */
export function factList(rows: readonly (readonly [name: string, value: unknown])[]): TemplateResult {
  return html`
    <dl class="facts">${rows.map(([name, value]) =>
      html`
        <div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>
      `
    )}</dl>
  `;
}
