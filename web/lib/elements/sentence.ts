/** The experiment as one sentence whose parts are edited in place, with Run, Cancel and the adapter's badge. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import type { Adapter } from "../adapter.ts";
import { backendChoices, choices, type Draft, type Field, names } from "../experiment/experiment.ts";
import { formatCount } from "../format/format.ts";
import { sayFiles } from "../own/data.ts";
import type { RunState } from "../experiment/run.ts";
import type { Session } from "../experiment/page-state.ts";
import { badge, badgeStyle } from "./badge.ts";
import { shared } from "./style.ts";

type Choice = keyof typeof choices;

/** The look of a sentence whose parts are edited in place; the other views' sentences have it too. */
export const sentenceStyle = css`
  form {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto;
    gap: 8px 32px;
    align-items: start;
  }
  .sentence {
    font-size: 18px;
    line-height: 32px;
    color: var(--ink-2);
    max-width: 900px;
  }
  .sentence > span {
    white-space: nowrap;
  }
  i {
    font-style: normal;
    padding: 0 2px;
  }
  input,
  select {
    display: inline-block;
    height: 28px;
    margin: 0;
    padding: 0 3px;
    line-height: 26px;
    border: 0;
    border-bottom: 1px solid var(--rule-strong);
    border-radius: 3px 3px 0 0;
    background: transparent;
    color: var(--ink);
    font-weight: 600;
    position: relative;
    top: -1px;
    vertical-align: middle;
  }
  input {
    width: calc(var(--length) * 1.08ch + 8px);
    text-align: center;
  }
  input::-webkit-calendar-picker-indicator {
    display: none !important;
  }
  @supports (field-sizing: content) {
    input,
    select {
      field-sizing: content;
      width: auto;
      min-width: 20px;
    }
  }
  select {
    appearance: none;
    padding-right: 16px;
    cursor: pointer;
  }
  option {
    background: var(--raised);
    color: var(--ink);
  }
  .choice {
    position: relative;
  }
  .choice::after {
    content: "";
    position: absolute;
    right: 5px;
    top: 50%;
    width: 5px;
    height: 5px;
    margin-top: -3px;
    border: solid var(--ink-2);
    border-width: 0 1.5px 1.5px 0;
    transform: rotate(45deg);
    pointer-events: none;
  }
  input:hover,
  select:hover {
    background: var(--sunken);
    border-bottom-color: var(--ink);
  }
  input:focus,
  select:focus {
    background: var(--sunken);
  }
  input[readonly] {
    border-bottom-color: transparent;
    background: transparent;
  }
  .sentence > .files {
    white-space: normal;
    overflow-wrap: anywhere;
  }
  .files b {
    color: var(--ink);
    font-weight: 600;
  }
  [aria-invalid] {
    color: var(--bad);
    background: var(--bad-wash);
    border-bottom: 2px solid var(--bad);
  }
  .run {
    display: flex;
    flex-direction: column;
    align-items: flex-end;
    gap: 8px;
  }
  .run .button {
    min-width: 104px;
    justify-content: center;
  }
  .problems {
    grid-column: 1 / -1;
    color: var(--bad);
    font-size: 13px;
  }
  .problems ul {
    list-style: none;
  }
  .problems li::before {
    content: "▲ " / "";
    font-size: 9px;
    vertical-align: 1px;
  }
  @media (max-width: 899px) {
    form {
      grid-template-columns: minmax(0, 1fr);
    }
    .run {
      flex-direction: row;
      align-items: center;
      justify-content: flex-start;
      flex-wrap: wrap;
    }
    .problems {
      grid-row: 2;
    }
  }
`;

/** `<ringside-sentence .session>`; draft, state and adapter are given too, so that it renders when they change. */
export class RingsideSentence extends LitElement {
  static override properties = {
    session: { attribute: false },
    draft: { attribute: false },
    state: { attribute: false },
    other: { attribute: false },
    adapter: { attribute: false },
  };

  declare session: Session;
  declare draft: Draft;
  declare state: RunState;
  /** The other variant's run. */
  declare other: RunState;
  declare adapter: Adapter | undefined;

  #text(field: Field, options: { readonly list?: string; readonly numeric?: boolean } = {}): TemplateResult {
    const value = this.draft[field];
    const problem = this.session.reading.problems.get(field);
    return html`
      <input id=${field} .value=${live(value)} style="--length:${Math.max(1, value.length)}" size=${Math.max(
        1,
        value.length,
      )} autocomplete="off"
        spellcheck="false"
        aria-label=${names[field]} title=${this.session.fixed(field)
          ? `${names[field]}, as your files have it`
          : names[field]} ?readonly=${this.session.fixed(field)} inputmode=${options.numeric === false
          ? "text"
          : "numeric"} list=${options.list ?? nothing}
        aria-invalid=${problem === undefined ? nothing : "true"} aria-describedby=${problem === undefined
          ? nothing
          : `problem-${field}`}
        @input=${(event: Event) => this.#typed(field, event.target as HTMLInputElement)} @change=${(event: Event) =>
          this.session.edit(field, (event.target as HTMLInputElement).value)} />
    `;
  }

  #choice(field: Choice): TemplateResult {
    const known = Object.entries<string>(field === "backend" ? backendChoices(this.adapter?.webgpu) : choices[field]);
    const value = this.draft[field];
    const problem = this.session.reading.problems.get(field);
    return html`<span class="choice"><select id=${field} aria-label=${names[field]} title=${names[field]} .value=${
      live(value)
    }
      aria-invalid=${problem === undefined ? nothing : "true"} aria-describedby=${
      problem === undefined ? nothing : `problem-${field}`
    }
      @change=${(event: Event) => this.session.edit(field, (event.target as HTMLSelectElement).value)}>
      ${known.some(([key]) => key === value) ? nothing : html`<option value=${value} selected>${value}</option>`}
      ${known.map(([key, label]) => html`<option value=${key} ?selected=${key === value}>${label}</option>`)}
    </select></span>`;
  }

  #typed(field: Field, input: HTMLInputElement): void {
    this.session.type(field, input.value);
    input.style.setProperty("--length", String(Math.max(1, input.value.length)));
  }

  #submit(event: Event): void {
    event.preventDefault();
    // Enter in a field submits before the field has said that it changed.
    const field = this.shadowRoot?.activeElement;
    if (field instanceof HTMLInputElement) this.session.edit(field.id as Field, field.value);
    if (!this.session.running) void this.session.run();
    const [first] = this.session.reading.problems.keys();
    if (first !== undefined) this.renderRoot.querySelector<HTMLElement>(`#${first}`)?.focus();
  }

  protected override render(): TemplateResult {
    const { problems } = this.session.reading;
    const { running } = this.session;
    const off = this.draft.bandwidth === "off";
    // By then the result is there, and only the check can be stopped.
    const checked = [this.state, this.other].find(({ phase }) => phase === "checking");
    const checking = checked === undefined
      ? undefined
      : (checked.progress ?? { done: 0, total: checked.experiment!.T });
    const stop = checking === undefined ? "Cancel" : "Skip the check";
    return html`<form novalidate @submit=${this.#submit} aria-label="Experiment">
      <p class="sentence">
        <span>${this.#text("N")} ranks,</span>
        <span>${this.#text("T")} new</span> <span>and ${this.#text("P")} cached tokens,</span>
        <span>${this.#text("H")}<i>/</i>${this.#text("Hkv")} heads</span> <span>of ${this.#text("D")},</span>
        <span>${this.#choice("variant")},</span>
        <span>${this.#choice("causal")},</span>
        <span>wire ${this.#choice("wire")},</span>
        <span>link ${this.#text("bandwidth", { list: "links", numeric: false })}${off ? "," : nothing}</span>
        ${off ? nothing : html`<span>after ${this.#text("latency", { numeric: false })},</span>`}
        ${
      this.session.own.data === undefined
        ? html`<span>seed ${this.#text("seed")},</span> ${
          this.draft.grid === "on" ? nothing : html`<span>values ${this.#choice("grid")},</span>`
        }`
        : html`<span class="files">inputs from <b>${sayFiles(this.session.own.data.files)}</b>,</span>`
    }
        <span>on ${this.#choice("backend")}</span>
      </p>
      <datalist id="links"><option value="off"></option><option value="100 MB/s"></option><option value="1 GB/s"></option><option value="12.5 GB/s"></option><option value="50 GB/s"></option><option value="400 GB/s"></option></datalist>
      <div class="run">
        ${
      running
        ? html`<button type="button" class="button" @click=${() => this.session.cancel()}>${stop}</button>`
        : html`<button type="submit" class="button primary">Run</button>`
    }
        ${
      checking === undefined ? nothing : html`<p class="badge checking">
          <progress aria-label="Rows checked against float64" value=${checking.done} max=${checking.total}></progress>
          <span>${formatCount(checking.done)} of ${formatCount(checking.total)} rows checked</span></p>`
    }
        ${badge(this.adapter, this.draft.backend, this.state)}
      </div>
      ${
      problems.size === 0 ? nothing : html`
        <div class="problems" role="alert">
          <ul>${[...problems].map(([field, problem]) => html`<li id="problem-${field}">${problem}</li>`)}</ul>
        </div>
      `
    }
    </form>`;
  }

  protected override updated(): void {
    // Run and Cancel are one place for the keyboard: the focus stays on whichever is there.
    const { running } = this.session;
    if (running !== this.#wasRunning && this.#focusOnButton) {
      this.renderRoot.querySelector<HTMLElement>(".run .button")?.focus();
    }
    this.#wasRunning = running;
    this.#focusOnButton = false;
  }

  #wasRunning = false;
  #focusOnButton = false;

  protected override willUpdate(): void {
    this.#focusOnButton = this.shadowRoot?.activeElement?.matches(".run .button") ?? false;
  }

  static override styles = [
    shared,
    badgeStyle,
    sentenceStyle,
    css`
      .checking {
        align-items: center;
      }
      .checking progress {
        width: 96px;
        height: 6px;
        accent-color: var(--accent);
      }
    `,
  ];
}

customElements.define("ringside-sentence", RingsideSentence);
