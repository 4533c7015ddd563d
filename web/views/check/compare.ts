/**
 * Somebody's own result against the exact one: which rank, hop and token is wrong first, and which fault makes the same
 * numbers.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { takeDroppedFiles } from "../../lib/elements/drop.ts";
import { follow } from "../../lib/elements/follow.ts";
import { frameStyle } from "../../lib/elements/frame-style.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import { editables, type Sentence } from "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { Selection } from "../../lib/stage/selection.ts";
import { commandLine } from "./command-line.ts";
import { commandOf } from "./command.ts";
import { filesPanel } from "./files.ts";
import { result } from "./result.ts";
import { choices, type Field, names } from "./state.ts";
import type { CheckStore } from "./store.ts";
import { checkStyle } from "./style.ts";
import { verdict } from "./words.ts";

/** `<ringside-compare .store>`: the view puts its parts into the slot at the top. */
export class RingsideCompare extends LitElement {
  static override properties = { store: { attribute: false }, _over: { state: true } };

  declare store: CheckStore;
  /** True while files are dragged over the page. */
  declare _over: boolean;
  readonly #selection = new Selection();

  constructor() {
    super();
    this._over = false;
    follow(this, () => this.store, ["change"]);
    follow(this, () => this.#selection, ["pick"]);
    takeDroppedFiles(this, (over) => (this._over = over), (files) => void this.store.take(files));
  }

  protected override render(): TemplateResult {
    const store = this.store;
    return html`
      <div class="top"><slot name="parts"></slot>
        <ringside-sentence wraps .sentence=${this.#sentence()}></ringside-sentence>
      </div>
      <div class="stage" ${scrolls("Files and result")}>
        ${filesPanel(store, this._over)}
        ${this.#state()}
        ${store.answered === undefined || store.phase === "running" || store.phase === "failed"
          ? nothing
          : html`${result(store.answered, this.#selection, store.stale)}${this.#command()}`}
      </div>
      <p class="unseen" role="status">${this.#news()}</p>
    `;
  }

  /** A check that is under way, failed or was cancelled. */
  #state(): TemplateResult | typeof nothing {
    const { phase, progress, failure } = this.store;
    if (phase === "running") {
      const { done, total, what } = progress ?? { done: 0, total: 0, what: "" };
      const comparing = what === "parts compared";
      const last = comparing && done === total;
      // A whole result is one part: nothing can be counted.
      const counted = progress !== undefined && !last && !(comparing && total === 1);
      return html`<section class="card" aria-labelledby="running"><h2 id="running" class="title">Checking</h2>
        <p>${
        progress === undefined
          ? "Starting."
          : last
          ? "Every row is compared. Trying faults on the wrong ones."
          : counted
          ? `${done} of ${total} ${what}.`
          : "Computing every row again on this machine."
      }</p>${
        counted
          ? html`<progress aria-label="Checking" value=${done} max=${total}></progress>`
          : html`<progress aria-label="Checking"></progress>`
      }</section>`;
    }
    if (phase === "failed") {
      return html`
        <section class="card bad" role="alert" aria-labelledby="failed">
          <h2 id="failed" class="title">This could not be checked</h2>
          <p class="message">${failure}</p>
          <p>Correct the files or the settings and check again. Options such as <code>--dims</code> are those of
                  <code>npx ringside-cp compare</code>.</p>
        </section>
      `;
    }
    if (phase === "cancelled") {
      return html`
        <section class="card" aria-labelledby="cancelled">
          <h2 id="cancelled" class="title">Cancelled</h2>
          <p>Nothing was found yet. The files and settings are kept: check again when you like.</p>
        </section>
      `;
    }
    return nothing;
  }

  #command(): TemplateResult {
    const { sorted, settings } = this.store.answered!;
    const line = commandOf(sorted, settings);
    return line !== undefined ? commandLine(line) : html`
      <p class="quiet">There is no command line for these files: ${sorted.noOptions}.</p>
    `;
  }

  #news(): string {
    const { phase, answered, stale } = this.store;
    if (phase === "running") return "Checking.";
    if (phase === "cancelled") return "Cancelled.";
    return phase === "idle" && answered !== undefined && !stale
      ? verdict(answered.outcome.found, answered.settings.layout !== undefined)
      : "";
  }

  #sentence(): Sentence<Field> {
    const store = this.store;
    const { draft, phase } = store;
    const { text, choice } = editables(names, draft);
    const running = phase === "running";
    const byRank = draft.layout !== "none";
    return {
      name: "Check",
      phrases: [
        ["Their result is dealt by ", choice("layout", choices.layout), ...(byRank ? [] : [","])],
        ...(byRank ? [["over ", text("ranks"), " ranks,"], ["in ", choice("variant", choices.variant), ","]] : []),
        [
          "mask ",
          text("mask", {
            keyboard: "text",
            suggestions: ["causal", "full", "window:1024", "window:1024+4", "chunk:8192"],
          }),
          ",",
        ],
        ["computed in ", choice("dtype", choices.dtype), "."],
      ],
      below: html`<p class="quiet">${store.waits ?? (running ? "Checking." : "Ready to check.")}</p>`,
      actions: html`
        <button type=${running ? "button" : "submit"} class="button ${running ? "" : "primary"}"
          ?disabled=${!running && store.waits !== undefined} @click=${(event: Event) => {
            if (!running) return;
            // The button turns into the submit button before the click is over, and would submit.
            event.preventDefault();
            store.stop();
          }}>${running ? "Cancel" : "Check"}</button>
      `,
      running,
      problems: () => store.problems,
      type: (field, value) => store.type(field, value),
      edit: (field, value) => store.edit(field, value),
      run: () => !running && void store.check(),
    };
  }

  static override styles = [shared, viewStyle, frameStyle, checkStyle];
}

customElements.define("ringside-compare", RingsideCompare);
