/** The Lab: the size of the experiment, its run, and the result. */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { until } from "lit/directives/until.js";
import { follow } from "../../lib/elements/follow.ts";
import { shared } from "../../lib/elements/style.ts";
import { toQuery } from "../../lib/experiment/experiment.ts";
import "./own/panel.ts";
import "./own/save.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import { failed, preview, progress } from "../../lib/experiment/states.ts";
import { facts, hopTable, rankTable, timeTable, verdict } from "../../lib/experiment/result.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";

/** `<ringside-lab .page>`. */
export class RingsideLab extends LitElement {
  static override properties = { page: { attribute: false } };

  declare page: PageState;
  #stage: Promise<TemplateResult> | undefined;

  constructor() {
    super();
    follow(this, () => this.page, ["change"]);
  }

  /** The stage. Its code loads when a run begins, so that the page appears before it. */
  #staged(): Promise<TemplateResult> {
    return (this.#stage ??= import("../../lib/stage/stage.ts").then(
      () => html`<ringside-stage .page=${this.page}></ringside-stage>`,
      (error: unknown) => {
        this.#stage = undefined;
        return html`<p class="stale" role="alert">The stage could not be loaded: ${
          String(error)
        }. Reload the page to try again.</p>`;
      },
    ));
  }

  protected override render(): TemplateResult {
    const { state, reading, stale, running, backend } = this.page;
    const { result, experiment } = state;
    if (running) void this.#staged();
    return html`
      <ringside-own .page=${this.page}></ringside-own>
      ${state.phase === "empty" ? preview(reading.experiment, backend) : nothing}
      ${running && result === undefined ? progress(state, backend) : nothing}
      ${state.phase === "failed" ? failed(state, () => void this.page.run()) : nothing}
      ${state.phase === "cancelled" && result === undefined
        ? html`
          <section class="card" aria-labelledby="cancelled">
            <h2 id="cancelled" class="title">Cancelled</h2>
            <p>You stopped the run ${state.step === "attending"
              ? "while the ring was running"
              : "before the ring began"}. Its ranks have ended. Nothing of it is kept.</p>
          </section>
        `
        : nothing}
      ${result === undefined || experiment === undefined ? nothing : html`
        ${until(this.#staged(), nothing)}
        <div class="result ${stale ? "old" : ""}">
          <div class="first">
                  ${stale
                    ? html`<p class="stale">${
                      state.own === this.page.own.data ? "The sentence has" : "The inputs have"
                    } changed since this run: <a href="?${
                      toQuery(experiment)
                    }" @click=${this.#back}>back to what ran</a></p>`
                    : nothing}
                  ${running ? progress(state, backend) : verdict(state)}
                  <ringside-save .state=${state}></ringside-save>
                  ${facts(result.report, experiment, state.own)}
                </div>
          <div class="second">
                  ${timeTable(result.report, state.compile ?? 0)}
                  ${hopTable(result.report)}
                  ${rankTable(result.report)}
                </div>
        </div>
      `}
    `;
  }

  #back(event: Event): void {
    event.preventDefault();
    this.page.restore();
  }

  static override styles = [shared, viewStyle];
}

customElements.define("ringside-lab", RingsideLab);
