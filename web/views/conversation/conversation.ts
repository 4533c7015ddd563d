/** The Conversation view: settings as a sentence, turns as a list, the selected step, and that step's timeline. */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { download } from "../../lib/elements/download.ts";
import { follow, oncePerFrame } from "../../lib/elements/follow.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { loadEngine, type Span } from "../../engine/run.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import "../../lib/timeline/timeline.ts";
import { frameStyle } from "../../lib/elements/frame-style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { inspector, stepName } from "./inspector.ts";
import { allSpans, reportJson, traceTitle } from "./report.ts";
import { conversationSentence } from "./sentence.ts";
import { doing, failed, news, preview, progress, verdict } from "./states.ts";
import { type ConversationStore, storeOf } from "./store.ts";
import { conversationStyle } from "./style.ts";
import { turnTable } from "./turns.ts";

const none: readonly Span[] = [];

/** `<ringside-conversation .page>`. */
export class RingsideConversation extends LitElement {
  static override properties = { page: { attribute: false } };

  declare page: PageState;
  #store: ConversationStore | undefined;
  /** Decode steps come faster than the screen shows them. */
  #update = oncePerFrame(this);

  constructor() {
    super();
    follow(this, () => this.#store, ["change"], this.#update);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#store?.sync();
  }

  protected override willUpdate(): void {
    if (this.#store !== undefined) return;
    this.#store = storeOf(this.page);
    this.#store.sync();
  }

  async #trace(): Promise<void> {
    const { state } = this.#store!.talk;
    if (state.conversation === undefined) return;
    const { chromeTrace } = await loadEngine();
    download("ringside-conversation-trace.json", chromeTrace(allSpans(state), traceTitle(state.conversation)));
  }

  #report(): void {
    download("ringside-conversation.json", reportJson(this.#store!.talk.state, location.href));
  }

  #seek(event: CustomEvent<string>): void {
    this.renderRoot.querySelector<HTMLElement>(`[id="${event.detail}"]`)?.focus();
  }

  protected override render(): TemplateResult {
    const store = this.#store!;
    const { state, running, steps } = store.talk;
    const done = store.selected;
    const { conversation } = state;
    const note = running
      ? doing(state)
      : state.phase === "failed" || state.phase === "cancelled"
      ? "It ended before there was anything to draw."
      : "Nothing has run yet. The measured spans of the selected step appear here.";
    return html`
      <div class="top">
        <ringside-sentence wide .sentence=${conversationSentence(store)} @seek=${this.#seek}></ringside-sentence>
      </div>
      <div class="stage" ${scrolls("Turns and steps")}>
        <div class="result ${store.stale && !running ? "old" : ""}">
          <div class="first">
            ${store.stale && !running
              ? html`<p class="stale">The conversation has changed since these steps ran. Run starts it again.</p>`
              : nothing}
            ${turnTable(store)}
            <p class="add">
              <button class="button" @click=${() =>
                store.addTurn()} ?disabled=${store.draft.turns.length >= 24}>Add a turn</button>
              ${running || steps.length === 0
                ? html`<span class="quiet">A turn is a prompt, prefilled in one pass, and a reply, decoded one token per step.</span>`
                : html`
                  <button class="button" @click=${this.#trace}>Trace for Perfetto</button> <button class="button"
                    @click=${this.#report}>Report as JSON</button>
                `}
            </p>
          </div>
          <div class="second">
            <div class="verdict">
              ${running
                ? progress(store)
                : state.phase === "failed"
                ? failed(state)
                : state.phase === "cancelled"
                ? html`
                  <section aria-labelledby="cancelled">
                    <h2 id="cancelled" class="title">Cancelled</h2>
                    <p>${steps.length === 0
                      ? "You stopped it before the end of its first step."
                      : "The finished steps stay, and every rank’s cache is as the last step left it. Run continues."}</p>
                  </section>
                `
                : steps.length === 0
                ? preview(store)
                : nothing}
              ${running ? nothing : verdict(store)}
            </div>
            ${conversation === undefined ? nothing : inspector(store, conversation)}
          </div>
        </div>
      </div>
      <div class="time" ${scrolls("Timeline of the step")}>
        <ringside-timeline .heading=${done === undefined
          ? "Timeline"
          : `Timeline: turn ${done.step.turn + 1}, ${stepName(store, done)}`} .spans=${done?.report.spans ??
          none} .ranks=${done?.report.ranks ?? store.reading.conversation?.N ?? 4} .note=${note}></ringside-timeline>
      </div>
      <p class="unseen" role="status">${news(state)}</p>
    `;
  }

  static override styles = [shared, viewStyle, frameStyle, conversationStyle];
}

customElements.define("ringside-conversation", RingsideConversation);
