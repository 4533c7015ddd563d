/**
 * The conversation's settings as one sentence whose parts are edited in place, with Run, Next turn, Cancel and the
 * adapter's badge.
 */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { badge, badgeStyle } from "../../lib/elements/badge.ts";
import { Follow } from "../../lib/elements/follow.ts";
import { sentenceStyle } from "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { backendChoices, choices as labChoices } from "../../lib/experiment/experiment.ts";
import { choices, type Field, names } from "./model.ts";
import type { Store } from "./store.ts";

const lists = { ...choices, wire: labChoices.wire } as const;

/** `<ringside-conversation-sentence .store>`: renders whenever the store changed. */
export class RingsideConversationSentence extends LitElement {
  static override properties = { store: { attribute: false } };

  declare store: Store;
  #wasRunning = false;
  #focusOnButton = false;

  constructor() {
    super();
    new Follow(this, () => this.store, ["change"]);
  }

  #marks(field: string): { readonly invalid: unknown; readonly by: unknown } {
    const problem = this.store.reading.problems.get(field);
    return {
      invalid: problem === undefined ? nothing : "true",
      by: problem === undefined ? nothing : `problem-${field}`,
    };
  }

  #text(field: Field, numeric = true): TemplateResult {
    const value = this.store.draft.fields[field];
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

  #choice(field: Field, known: Readonly<Record<string, string>>): TemplateResult {
    const value = this.store.draft.fields[field];
    const { invalid, by } = this.#marks(field);
    const options = Object.entries(known);
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
    this.#run("end");
  }

  #run(until: "turn" | "end"): void {
    if (!this.store.talk.running) void this.store.run(until);
    const [first] = this.store.reading.problems.keys();
    if (first === undefined) return;
    const own = this.renderRoot.querySelector<HTMLElement>(`[id="${first}"]`);
    if (own !== null) own.focus();
    else this.dispatchEvent(new CustomEvent("seek", { detail: first }));
  }

  protected override render(): TemplateResult {
    const { store } = this;
    const { running } = store.talk;
    const { problems, conversation } = store.reading;
    const { fields } = store.draft;
    const off = fields.bandwidth === "off";
    const ranks = Number(fields.N);
    const ranksKnown = Number.isInteger(ranks) && ranks >= 1 && ranks <= 64
      ? Array.from({ length: ranks }, (_, r) => [String(r), `kill rank ${r}`])
      : [];
    const own = [...problems].filter(([field]) => Object.hasOwn(names, field));
    const between = !running && store.goesOn && store.talk.steps.length > 0;
    const last = store.talk.steps.length === 0 && !running;
    return html`<form novalidate @submit=${this.#submit} aria-label="Conversation">
      <p class="sentence">
        <span>${this.#text("N")} ranks,</span>
        <span>${this.#choice("sequences", lists.sequences)} with</span>
        <span>${this.#text("H")}<i>/</i>${this.#text("Hkv")} heads</span> <span>of ${this.#text("D")},</span>
        <span>prefills ${this.#choice("prefills", lists.prefills)},</span>
        <span>cache of ${this.#text("capacity")} tokens a rank,</span>
        <span>wire ${this.#choice("wire", lists.wire)},</span>
        <span>link ${this.#text("bandwidth", false)}${off ? "," : nothing}</span>
        ${off ? nothing : html`<span>after ${this.#text("latency", false)},</span>`}
        <span>seed ${this.#text("seed")},</span>
        <span>on ${this.#choice("backend", backendChoices(store.adapter?.webgpu))};</span>
        <span>${this.#choice("kill", { none: "no rank dies", ...Object.fromEntries(ranksKnown) })}</span>
        ${
      fields.kill === "none"
        ? nothing
        : html`<span>at hop ${this.#text("killHop")}</span> <span>of the ${
          this.#choice("killMode", lists.killMode)
        }</span> <span>of turn ${this.#text("killTurn")}</span>`
    }
      </p>
      <datalist id="links"><option value="off"></option><option value="100 MB/s"></option><option value="1 GB/s"></option><option value="12.5 GB/s"></option><option value="50 GB/s"></option><option value="400 GB/s"></option></datalist>
      <div class="run">
        <div class="buttons">
          ${
      running
        ? html`<button type="button" class="button" @click=${() => store.talk.cancel()}>Cancel</button>`
        : html`<button type="submit" class="button primary">${
          between ? "Run the rest" : last || conversation === undefined || store.stale ? "Run" : "Run again"
        }</button>`
    }
          <button type="button" class="button" ?disabled=${
      running || (!between && !last && !store.stale)
    } @click=${() => this.#run("turn")}>${last || (store.stale && !running) ? "First turn" : "Next turn"}</button>
          ${
      between
        ? html`<button type="button" class="button" @click=${() => void store.startOver()}>Start over</button>`
        : nothing
    }
        </div>
        ${badge(store.adapter, fields.backend, { phase: "empty" })}
      </div>
      ${
      own.length === 0 ? nothing : html`
        <div class="problems" role="alert">
          <ul>${own.map(([field, problem]) => html`<li id="problem-${field}">${problem}</li>`)}</ul>
        </div>
      `
    }
    </form>`;
  }

  protected override willUpdate(): void {
    this.#focusOnButton = this.shadowRoot?.activeElement?.matches(".run .button") ?? false;
  }

  protected override updated(): void {
    // Run and Cancel are one place for the keyboard: the focus stays on whichever is there.
    const { running } = this.store.talk;
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
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        justify-content: flex-end;
        max-width: 288px;
      }
      @media (max-width: 899px) {
        .buttons {
          max-width: none;
          justify-content: flex-start;
        }
      }
    `,
  ];
}

customElements.define("ringside-conversation-sentence", RingsideConversationSentence);
