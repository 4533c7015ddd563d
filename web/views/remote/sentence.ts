/**
 * What is asked of the machine as one sentence whose parts are edited in place, with presets, Run, Cancel and who
 * computes.
 */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { badgeStyle } from "../../lib/elements/badge.ts";
import { Follow } from "../../lib/elements/follow.ts";
import { sentenceStyle } from "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { sayMachine } from "./machine.ts";
import { choices, type Field, names, presets, same, withPreset } from "./model.ts";
import type { Store } from "./store.ts";

/** `<ringside-remote-sentence .store>`: renders whenever the store changed. */
export class RingsideRemoteSentence extends LitElement {
  static override properties = { store: { attribute: false } };

  declare store: Store;
  #wasRunning = false;
  #focusOnButton = false;

  constructor() {
    super();
    new Follow(this, () => this.store, ["change"]);
  }

  #marks(field: Field): { readonly invalid: unknown; readonly by: unknown } {
    const problem = this.store.reading.problems.get(field);
    return {
      invalid: problem === undefined ? nothing : "true",
      by: problem === undefined ? nothing : `problem-${field}`,
    };
  }

  #text(field: Field, numeric = true): TemplateResult {
    const value = this.store.draft[field];
    const { invalid, by } = this.#marks(field);
    return html`
      <input id=${field} .value=${live(value)} style="--length:${Math.max(1, value.length)}" size=${Math.max(
        1,
        value.length,
      )} autocomplete="off"
        spellcheck="false"
        aria-label=${names[field]} title=${names[field]} inputmode=${numeric
          ? "numeric"
          : "text"} list=${field === "bandwidth" ? "links" : nothing} aria-invalid=${invalid}
        aria-describedby=${by}
        @input=${(event: Event) => this.#typed(field, event.target as HTMLInputElement)} @change=${(event: Event) =>
          this.store.edit(field, (event.target as HTMLInputElement).value)} />
    `;
  }

  #choice(field: keyof typeof choices): TemplateResult {
    const value = this.store.draft[field];
    const { invalid, by } = this.#marks(field);
    const options = Object.entries<string>(choices[field]);
    return html`
      <span
        class="choice"><select id=${field} aria-label=${names[field]} title=${names[field]} .value=${live(
          value,
        )} aria-invalid=${invalid} aria-describedby=${by}
            @change=${(event: Event) => this.store.edit(field, (event.target as HTMLSelectElement).value)}>
            ${options.some(([key]) => key === value)
              ? nothing
              : html`<option value=${value} selected>${value}</option>`}
            ${options.map(([key, label]) => html`<option value=${key} ?selected=${key === value}>${label}</option>`)}
          </select></span>
    `;
  }

  #typed(field: Field, input: HTMLInputElement): void {
    this.store.type(field, input.value);
    input.style.setProperty("--length", String(Math.max(1, input.value.length)));
  }

  #submit(event: Event): void {
    event.preventDefault();
    // Enter in a field submits before the field has said that it changed.
    const field = this.shadowRoot?.activeElement;
    if (field instanceof HTMLInputElement) this.store.edit(field.id as Field, field.value);
    void this.store.run();
    const [first] = this.store.reading.problems.keys();
    if (first !== undefined) this.renderRoot.querySelector<HTMLElement>(`#${first}`)?.focus();
  }

  protected override render(): TemplateResult {
    const { store } = this;
    const { running } = store.runner;
    const { problems } = store.reading;
    const attends = store.draft.work !== "layer";
    const off = store.draft.bandwidth === "off";
    const connected = store.wire.phase === "connected";
    return html`<form novalidate @submit=${this.#submit} aria-label="Remote experiment">
      <div>
      <p class="sentence">
        <span>${this.#choice("work")} of</span> ${
      attends ? nothing : html`<span>${this.#choice("model")}</span> <span>over</span>`
    }
        <span>${this.#text("T")} new</span> <span>and ${this.#text("P")} cached tokens,</span>
        ${
      attends
        ? html`<span>${this.#text("H")}<i>/</i>${this.#text("Hkv")} heads</span> <span>of ${
          this.#text("D")
        }</span> <span>in ${this.#choice("dtype")},</span> <span>${this.#choice("causal")},</span>`
        : html`<span>in ${this.#choice("dtype")},</span>`
    }
        <span>on ${this.#text("N")} ${store.draft.N === "1" ? "rank" : "ranks"},</span>
        <span>by ${this.#choice("ways")},</span>
        <span>link ${this.#text("bandwidth", false)}${off ? "," : nothing}</span>
        ${off ? nothing : html`<span>after ${this.#text("latency", false)},</span>`}
        <span>seed ${this.#text("seed")}${attends ? "," : "."}</span>
        ${attends ? html`<span>verify ${this.#text("rows")} rows here</span>` : nothing}
      </p>
      <datalist id="links"><option value="off"></option><option value="100 MB/s"></option><option value="3 GB/s"></option><option value="12.5 GB/s"></option><option value="26.5 GB/s"></option><option value="50 GB/s"></option></datalist>
      ${this.#presets()}
      </div>
      <div class="run">
        ${
      running
        ? html`<button type="button" class="button" @click=${this.#cancel}>Cancel</button>`
        : html`<button type="submit" class="button ${
          connected ? "primary" : ""
        }" ?disabled=${!connected} aria-describedby="who">Run</button>`
    }
        ${this.#badge()}
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

  #cancel(event: Event): void {
    // The button becomes the form's own before the click is over, and would submit it.
    event.preventDefault();
    this.store.runner.cancel();
  }

  #presets(): TemplateResult {
    const { store } = this;
    const { experiment } = store.reading;
    const { lab } = store;
    const chosen = (id: string) =>
      experiment !== undefined && same(experiment, withPreset(experiment, presets.find((p) => p.id === id)!));
    return html`<p class="presets" role="group" aria-label="Begin from">
      ${
      presets.map(({ id, title, why }) =>
        html`<button type="button" class="button" aria-pressed=${String(chosen(id))} title=${why} @click=${() =>
          store.usePreset(id)}>${title}</button>`
      )
    }
      ${
      lab === undefined ? nothing : html`
        <button type="button" class="button" aria-pressed=${String(
          same(experiment, lab),
        )} title="What the Lab’s sentence says"
          @click=${() => store.use(lab)}>The Lab’s</button>
      `
    }
    </p>`;
  }

  #badge(): TemplateResult {
    const { shown, wire } = this.store;
    if (shown.kind === "run") {
      return html`<p class="badge" id="who"><span class="lamp soft"></span><span><b>Recorded</b> ${
        sayMachine(shown.run.facts)
      }</span></p>`;
    }
    switch (wire.phase) {
      case "connected":
        return html`<p class="badge" id="who"><span class="lamp ${
          wire.facts.devices.some(({ kind }) => kind === "cuda") ? "hard" : "soft"
        }"></span><span><b>Connected</b> ${sayMachine(wire.facts)}</span></p>`;
      case "connecting":
      case "reconnecting":
        return html`<p class="badge" id="who"><span class="lamp"></span><span>${wire.phase} …</span></p>`;
      default:
        return html`<p class="badge" id="who"><span class="lamp"></span><span><b>Not connected</b> to a worker</span></p>`;
    }
  }

  protected override willUpdate(): void {
    this.#focusOnButton = this.shadowRoot?.activeElement?.matches(".run .button") ?? false;
  }

  protected override updated(): void {
    // Run and Cancel are one place for the keyboard: the focus stays on whichever is there.
    const { running } = this.store.runner;
    if (running !== this.#wasRunning && this.#focusOnButton) {
      this.renderRoot.querySelector<HTMLElement>(".run .button")?.focus();
    }
    this.#wasRunning = running;
  }

  static override styles = [
    shared,
    badgeStyle,
    sentenceStyle,
    css`
      .sentence {
        max-width: 1080px;
      }
      .presets {
        display: flex;
        flex-wrap: wrap;
        gap: 4px;
        margin-top: 8px;
      }
      .presets .button {
        min-height: 26px;
        padding: 0 10px;
        font-size: var(--small);
        border-color: var(--rule);
        border-radius: 13px;
      }
      .presets .button[aria-pressed="true"] {
        border-color: var(--ink);
        font-weight: 600;
      }
      @media (max-width: 480px) {
        .sentence > span {
          white-space: normal;
        }
      }
    `,
  ];
}

customElements.define("ringside-remote-sentence", RingsideRemoteSentence);
