/**
 * Learn: seven chapters on context-parallel attention, each with figures that the engine computes as the reader changes
 * them.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { scrolls } from "../../lib/elements/scrolls.ts";
import { shared } from "../../lib/elements/style.ts";
import { readPlace, writePlace } from "./address.ts";
import { fromWorker } from "./ask.ts";
import { type AnyState, type Control, type Page, settled, valuesOf } from "./chapter.ts";
import { chapters } from "./chapters.ts";
import { drawingStyle } from "./drawing-style.ts";
import { figureStyle } from "./figure-style.ts";
import { lightTogether } from "./light.ts";
import { learnStyle } from "./style.ts";

/** What a chapter computed, and from which state. */
interface Shown {
  readonly chapter: number;
  readonly state: AnyState;
  readonly model: unknown;
}

/** `<ringside-learn>`. */
export class RingsideLearn extends LitElement {
  static override properties = {
    _chapter: { state: true },
    _state: { state: true },
    _shown: { state: true },
    _failure: { state: true },
  };

  declare _chapter: number;
  /** The values of the open chapter's controls. */
  declare _state: AnyState;
  /** The chapter as last computed, so that prose and figures always agree with each other. */
  declare _shown: Shown | undefined;
  declare _failure: string;
  #states: readonly AnyState[];
  #search = "";
  #asked = 0;
  #focus = false;
  #light = new AbortController();
  #moved = () => {
    if (location.search === this.#search) return;
    const before = this._chapter;
    this.#read();
    this.#focus = this._chapter !== before;
  };

  constructor() {
    super();
    this._shown = undefined;
    this._failure = "";
    this._chapter = 0;
    this._state = {};
    this.#states = [];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    addEventListener("popstate", this.#moved);
    this.#light = new AbortController();
    lightTogether(this.renderRoot as ShadowRoot, this.#light.signal);
    this.#read();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener("popstate", this.#moved);
    this.#light.abort();
  }

  #read(): void {
    this.#search = location.search;
    const { chapter, states } = readPlace(location.search, chapters);
    this.#states = states;
    this.#open(chapter);
  }

  #open(chapter: number): void {
    this._chapter = chapter;
    this._state = this.#states[chapter];
    void this.#compute();
  }

  #set(name: string, value: number | string): void {
    const { controls } = chapters[this._chapter];
    this._state = settled(controls, { ...this._state, [name]: value });
    this.#states = this.#states.with(this._chapter, this._state);
    history.replaceState(null, "", this.#address(this._chapter));
    this.#search = location.search;
    void this.#compute();
  }

  #address(chapter: number): string {
    return `?${writePlace({ chapter, states: this.#states }, chapters, location.search)}#learn`;
  }

  /** Opens another chapter without reloading the page, as a step of the browser's history. */
  #go(event: MouseEvent, chapter: number): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    history.pushState(null, "", this.#address(chapter));
    this.#search = location.search;
    this.#focus = true;
    this.#open(chapter);
  }

  async #compute(): Promise<void> {
    const asked = ++this.#asked;
    const [chapter, state] = [this._chapter, this._state];
    try {
      const model = await chapters[chapter].model(state, fromWorker);
      if (asked !== this.#asked) return;
      this._shown = { chapter, state, model };
      this._failure = "";
    } catch (error) {
      if (asked === this.#asked) this._failure = error instanceof Error ? error.message : String(error);
    }
  }

  protected override updated(): void {
    if (!this.#focus || this._shown?.chapter !== this._chapter) return;
    this.#focus = false;
    const title = this.renderRoot.querySelector<HTMLElement>("#chapter");
    title?.focus({ preventScroll: true });
    this.renderRoot.querySelector(".page")?.scrollTo({ top: 0 });
    this.scrollIntoView({ block: "start" });
  }

  #link(
    chapter: number,
    text: unknown,
    more: { readonly current?: boolean; readonly rel?: string } = {},
  ): TemplateResult {
    return html`<a href=${this.#address(chapter)} rel=${more.rel ?? nothing} aria-current=${
      more.current === true ? "page" : nothing
    } @click=${(event: MouseEvent) => this.#go(event, chapter)}>${text}</a>`;
  }

  protected override render(): TemplateResult {
    const shown = this._shown;
    return html`
      <nav class="contents" ${scrolls()} aria-label="Chapters">
        <h2>Learn</h2>
        <ol>${chapters.map(({ title }, i) =>
          html`<li>${this.#link(i, title, { current: i === this._chapter })}</li>`
        )}</ol>
      </nav>
      <div class="page" ${scrolls("Chapter")}>
        ${this._failure === "" ? nothing : html`
          <p class="failed" role="alert">
            Could not compute “${chapters[this._chapter].title}”: ${this._failure}. Open the chapter again or change a
            control to retry.
          </p>
        `}
        ${shown === undefined
          ? html`<p class="quiet" role="status">${this._failure === "" ? "Computing the chapter …" : nothing}</p>`
          : this.#article(shown)}
      </div>
    `;
  }

  #article({ chapter, state, model }: Shown): TemplateResult {
    const { title, render, onward } = chapters[chapter];
    const page: Page<never, unknown> = {
      model,
      state: state as never,
      controls: (...names: string[]) =>
        html`<div class="controls">${names.map((name) => this.#control(name, chapter, state))}</div>`,
    };
    return html`<article aria-labelledby="chapter">
      <p class="where">Chapter ${chapter + 1} of ${chapters.length}</p>
      <h2 id="chapter" tabindex="-1">${title}</h2>
      ${render(page as never)}
      <section class="onward" aria-label="Try it">${
      onward(page as never).map(({ href, label, words }) =>
        html`<p><a class="button" href=${href}>${label}</a><span>${words}</span></p>`
      )
    }</section>
      <nav class="turn" aria-label="Previous and next chapter">
        ${
      chapter > 0
        ? this.#link(chapter - 1, html`<small>Previous</small>${chapters[chapter - 1].title}`, { rel: "prev" })
        : html`<span></span>`
    }
        ${
      chapter + 1 < chapters.length
        ? this.#link(chapter + 1, html`<small>Next</small>${chapters[chapter + 1].title}`, { rel: "next" })
        : nothing
    }
      </nav>
    </article>`;
  }

  /**
   * A control of the chapter that is shown. If that chapter is open, the control has the newest value, while the
   * figures may still show an older one.
   */
  #control(name: string, chapter: number, shown: AnyState): TemplateResult {
    const control = chapters[chapter].controls[name];
    const state = chapter === this._chapter ? this._state : shown;
    const values = valuesOf(control, state);
    const value = state[name];
    const say = (control as Control).say ?? String;
    if (typeof control.initial === "string") {
      return html`<label><span>${control.label}</span><select .value=${live(value)} @change=${(event: Event) =>
        this.#set(name, (event.target as HTMLSelectElement).value)}>
        ${
        values.map((one) => html`<option value=${one} ?selected=${one === value}>${say(one)}</option>`)
      }</select></label>`;
    }
    return html`<label><span>${control.label}<b aria-hidden="true">${
      say(value)
    }</b></span><input type="range" min="0" max=${values.length - 1} step="1" .value=${
      live(String(values.indexOf(value)))
    } aria-valuetext=${say(value)} ?disabled=${values.length < 2}
      @input=${(event: Event) => this.#set(name, values[Number((event.target as HTMLInputElement).value)])} /></label>`;
  }

  static override styles = [shared, learnStyle, figureStyle, drawingStyle];
}

customElements.define("ringside-learn", RingsideLearn);
