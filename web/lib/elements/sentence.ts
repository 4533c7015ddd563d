/** A sentence whose parts are edited in place, with its buttons, and a list of what is wrong in it. */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { badgeStyle } from "./badge.ts";
import { inline } from "./inline.ts";
import { sentenceStyle } from "./sentence-style.ts";
import { shared } from "./style.ts";

/** An option of a list: its value, its text, and what shows when somebody points at it. */
export type Choice = readonly [value: string, text: string, title?: string];

/** A part of a sentence that is edited in place. */
export interface Editable<F extends string = string> {
  /** Its name in events, and the id of its input. */
  readonly field: F;
  /** Its name for screen readers, shown when somebody points at it. */
  readonly label: string;
  /** Its text as typed, or the value chosen. */
  readonly value: string;
  /** The list to choose from; if absent, the part is typed. A value outside the list is added to it. */
  readonly choices?: readonly Choice[];
  /** The keyboard of a phone; default "numeric". */
  readonly keyboard?: "numeric" | "text";
  /** Values to suggest while somebody types. */
  readonly suggestions?: readonly string[];
  /** Why it can't be edited now. */
  readonly fixed?: string;
}

/** Words and parts that stay together on a line. */
export type Phrase = readonly (string | TemplateResult | Editable)[];

/** What a sentence says, and what becomes of edits. */
export interface Sentence<F extends string = string> {
  /** Name of the form for screen readers. */
  readonly name: string;
  readonly phrases: readonly (Phrase | TemplateResult)[];
  /** Below the phrases: presets, a remark. */
  readonly below?: TemplateResult;
  /** Buttons and badge. A submit button runs. */
  readonly actions: TemplateResult;
  /** True while a run is under way. */
  readonly running: boolean;
  /** What is wrong now, by field; a field that isn't in the sentence is sought elsewhere on the page. */
  readonly problems: () => ReadonlyMap<string, string>;
  /** Whether to list a problem here; default all. */
  readonly lists?: (field: string) => boolean;
  /** Notes a text while somebody types it. */
  readonly type: (field: F, text: string) => void;
  /** Reads a text that is complete. */
  readonly edit: (field: F, text: string) => void;
  /** Runs; `button` is the value of the submit button. */
  readonly run: (button: string) => void;
}

/** Editables of a form: `text("N")` and `choice("wire", choices)`. */
export function editables<F extends string>(names: Readonly<Record<F, string>>, draft: Readonly<Record<F, string>>) {
  const of = (field: F): Editable<F> => ({ field, label: names[field], value: draft[field] });
  return {
    text: (field: F, more: Partial<Editable<F>> = {}): Editable<F> => ({ ...of(field), ...more }),
    choice: (field: F, choices: Readonly<Record<string, string>> | readonly Choice[]): Editable<F> => ({
      ...of(field),
      choices: Array.isArray(choices) ? choices : Object.entries(choices),
    }),
  };
}

/** `<ringside-sentence .sentence wide wraps>`: fires "seek" with a field that has a problem and isn't here. */
export class RingsideSentence extends LitElement {
  static override properties = { sentence: { attribute: false } };

  declare sentence: Sentence;
  #wasRunning = false;
  #focusOnButton = false;

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const { sentence } = this;
    // Enter in a field submits before the field fires "change".
    const field = this.shadowRoot?.activeElement;
    if (field instanceof HTMLInputElement) sentence.edit(field.id, field.value);
    sentence.run((event.submitter as HTMLButtonElement | null)?.value ?? "");
    const [first] = sentence.problems().keys();
    if (first === undefined) return;
    const own = this.renderRoot.querySelector<HTMLElement>(`[id="${first}"]`);
    if (own === null) this.dispatchEvent(new CustomEvent("seek", { detail: first }));
    else own.focus();
  }

  protected override render(): TemplateResult {
    const { name, phrases, below, actions, problems, lists = () => true } = this.sentence;
    const wrong = problems();
    const listed = [...wrong].filter(([field]) => lists(field));
    return html`
      <form novalidate @submit=${this.#submit} aria-label=${name}>
        <div>
          <p class="sentence">${phrases.map((phrase) =>
            inline`${
              Array.isArray(phrase) ? inline`<span>${phrase.map((part) => this.#part(part, wrong))}</span>` : phrase
            } `
          )}</p>
          ${below ?? nothing}
        </div>
        <div class="run">${actions}</div>
        ${listed.length === 0 ? nothing : html`
          <div class="problems" role="alert">
            <ul>${listed.map(([field, problem]) => html`<li id="problem-${field}">${problem}</li>`)}</ul>
          </div>
        `}
      </form>
    `;
  }

  #part(part: Phrase[number], wrong: ReadonlyMap<string, string>): string | TemplateResult {
    if (typeof part === "string" || !("field" in part)) return part;
    const { field, label, value, choices, keyboard, suggestions, fixed } = part;
    const problem = wrong.has(field);
    const invalid = problem ? "true" : nothing;
    const reason = problem ? `problem-${field}` : nothing;
    if (choices !== undefined) {
      return inline`<span class="choice"><select id=${field} aria-label=${label} title=${label} .value=${live(value)}
        aria-invalid=${invalid} aria-describedby=${reason}
        @change=${(event: Event) => this.sentence.edit(field, (event.target as HTMLSelectElement).value)}>
        ${choices.some(([key]) => key === value) ? nothing : html`<option value=${value} selected>${value}</option>`}
        ${
        choices.map(([key, text, title]) =>
          html`<option value=${key} ?selected=${key === value} title=${title ?? nothing}>${text}</option>`
        )
      }
      </select></span>`;
    }
    const length = Math.max(1, value.length);
    return inline`<input id=${field} .value=${live(value)} style="--length:${length}" size=${length}
      autocomplete="off" spellcheck="false" inputmode=${keyboard ?? "numeric"}
      aria-label=${label} title=${fixed === undefined ? label : `${label}, ${fixed}`} ?readonly=${fixed !== undefined}
      list=${suggestions === undefined ? nothing : `list-${field}`} aria-invalid=${invalid} aria-describedby=${reason}
      @input=${(event: Event) => this.#typed(field, event.target as HTMLInputElement)}
      @change=${(event: Event) => this.sentence.edit(field, (event.target as HTMLInputElement).value)} />${
      suggestions === undefined
        ? nothing
        : inline`<datalist id="list-${field}">${
          suggestions.map((one) => html`<option value=${one}></option>`)
        }</datalist>`
    }`;
  }

  #typed(field: string, input: HTMLInputElement): void {
    this.sentence.type(field, input.value);
    input.style.setProperty("--length", String(Math.max(1, input.value.length)));
  }

  protected override willUpdate(): void {
    this.#focusOnButton = this.shadowRoot?.activeElement?.matches(".run .button") ?? false;
  }

  protected override updated(): void {
    // Run and Cancel are one place for the keyboard: the focus stays on whichever is there.
    const { running } = this.sentence;
    if (running !== this.#wasRunning && this.#focusOnButton) {
      this.renderRoot.querySelector<HTMLElement>(".run .button")?.focus();
    }
    this.#wasRunning = running;
  }

  static override styles = [shared, badgeStyle, sentenceStyle];
}

customElements.define("ringside-sentence", RingsideSentence);
