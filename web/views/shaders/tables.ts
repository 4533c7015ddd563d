/** What a text declares, as tables: bindings, constants, and the memory of a workgroup. */
import { html, nothing, type TemplateResult } from "lit";
import type { Declarations } from "../../engine/kernels.ts";
import "../../lib/elements/scroll.ts";

/** All tables; `go` shows a line of the text. */
export function declarationTables(
  { bindings, constants, memory, structs, entries, enables }: Declarations,
  go: (line: number) => void,
): TemplateResult {
  const place = (line: number, name: string) =>
    html`<button class="at" title="Line ${line}" @click=${() => go(line)}>${name}</button>`;
  const entry = entries[0];
  return html`
    <ringside-scroll label="Bindings">
      <table class="declared bindings">
        <caption>Bindings <small>read from the current text</small></caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Group</th>
            <th scope="col">Binding</th>
            <th scope="col">Kind</th>
            <th scope="col">Type</th>
            <th scope="col">What it is</th>
          </tr>
        </thead>
        <tbody>${bindings.length === 0
          ? html`
            <tr>
              <td colspan="6">None found.</td>
            </tr>
          `
          : bindings.map((b) =>
            html`
              <tr>
                <th scope="row">${place(b.line, b.name)}</th>
                <td>${b.group}</td>
                <td>${b.binding}</td>
                <td>${b.kind}</td>
                <td><code>${b.type}</code></td>
                <td class="said">${b.what}${b.kind === "uniform" ? membersOf(b.type, structs) : nothing}</td>
              </tr>
            `
          )}</tbody>
      </table>
    </ringside-scroll>
    <ringside-scroll label="Constants">
      <table class="declared">
        <caption>Constants and overrides <small>${constants.some((c) => c.specialised)
          ? "* rewritten by the host for each head size and storage type"
          : ""}</small></caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Kind</th>
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody>${constants.length === 0
          ? html`
            <tr>
              <td colspan="3">None.</td>
            </tr>
          `
          : constants.map((c) =>
            html`
              <tr>
                <th scope="row">${place(c.line, c.name)}${c.specialised ? " *" : ""}</th>
                <td>${c.kind}</td>
                <td><code>${c.value === "" ? "–" : c.value}</code></td>
              </tr>
            `
          )}</tbody>
      </table>
    </ringside-scroll>
    <ringside-scroll label="Workgroup">
      <table class="declared">
        <caption>Workgroup <small>${entry === undefined
          ? "no entry point found"
          : html`entry point <code>${entry.name}</code>, size <code>${
            entry.workgroupSize.join(" × ") || "?"
          }</code>`}${enables.length === 0 ? "" : `; needs ${enables.join(", ")}`}</small></caption>
        <thead>
          <tr>
            <th scope="col">Shared memory</th>
            <th scope="col">Type</th>
            <th scope="col">What it is</th>
          </tr>
        </thead>
        <tbody>${memory.length === 0
          ? html`
            <tr>
              <td colspan="3">None.</td>
            </tr>
          `
          : memory.map((m) =>
            html`
              <tr>
                <th scope="row">${place(m.line, m.name)}</th>
                <td><code>${m.type}</code></td>
                <td class="said">${m.what}</td>
              </tr>
            `
          )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

function membersOf(type: string, structs: Declarations["structs"]): TemplateResult | typeof nothing {
  const members = structs.find(({ name }) => name === type)?.members;
  return members === undefined
    ? nothing
    : html`<small>: ${members.map(({ name, type: t }) => `${name} ${t}`).join(", ")}</small>`;
}
