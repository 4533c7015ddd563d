/**
 * The Step view: a real run that halts at hop boundaries. It shows all ranks, one of them in detail, and how a token's
 * partial results merge.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { follow, oncePerFrame } from "../../lib/elements/follow.ts";
import { shared } from "../../lib/elements/style.ts";
import type { Experiment } from "../../lib/experiment/experiment.ts";
import { formatBytes, formatCount } from "../../lib/format/format.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import { failed, progress } from "../../lib/experiment/states.ts";
import { verdict } from "../../lib/experiment/result.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { mergeInspector } from "./merge.ts";
import { KEPT, partialBytes, standing, type Walk } from "./model.ts";
import { rankInspector } from "./rank.ts";
import { controls, rankTable } from "./ranks.ts";
import { type Stepper, stepperOf } from "./stepper.ts";
import { stepStyle } from "./style.ts";

/** `<ringside-step .page>`: while it is on the page, Run makes the ranks halt. */
export class RingsideStep extends LitElement {
  static override properties = { page: { attribute: false } };

  declare page: PageState;
  #stepper: Stepper | undefined;
  /** Halts come faster than the screen shows them. */
  #update = oncePerFrame(this);

  constructor() {
    super();
    follow(this, () => this.#stepper, ["change"], this.#update);
  }

  #open(): void {
    this.#stepper = stepperOf(this.page);
    this.page.halting = this.#stepper;
    this.page.aside = this.#stepper.address;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.#open();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.page.halting = undefined;
    this.page.aside = {};
  }

  /** After the view has left the page, a pending update must not make runs halt. */
  protected override shouldUpdate(): boolean {
    return this.isConnected;
  }

  protected override willUpdate(): void {
    if (!this.hasUpdated) this.#open();
  }

  #offGrid(): void {
    this.page.edit("grid", "off");
    void this.page.run();
  }

  protected override render(): TemplateResult {
    const stepper = this.#stepper!;
    const { page } = this;
    const { state, running, backend, stale, reading } = page;
    const walk = stepper.current ? stepper.walk : undefined;
    const heard = walk !== undefined && walk.log.some((own) => own.length > 0);
    const { live } = stepper;
    return html`
      ${state.phase === "failed" && state.halted ? failed(state, () => void page.run()) : nothing}
      ${state.phase === "cancelled" && state.halted
        ? html`
          <section class="card" aria-labelledby="cancelled">
            <h2 id="cancelled" class="title">Cancelled</h2>
            <p>The ranks have ended.${heard ? " Their reports stay below." : ""} Run starts again.</p>
          </section>
        `
        : nothing}
      ${running && !(heard && state.phase === "attending") ? progress(state, backend) : nothing}
      ${!running && walk === undefined ? this.#empty(reading.experiment) : nothing}
      ${walk === undefined || !heard ? nothing : html`
        ${stale && !running
          ? html`<p class="stale">The sentence has changed since this run. Run steps through the new experiment.</p>`
          : nothing}
        ${state.result === undefined || running
          ? nothing
          : html`<div class=${stale ? "old" : ""}>${verdict(state)}</div>`}
        ${walk.watch === undefined ? nothing : this.#limit(walk)}
        <div class="walk">
          <div class="first">
            ${controls(stepper, walk, live, backend === "webgpu")}
            ${rankTable(stepper, walk, live)}
            <p class="quiet keys">
              In the table: arrows move, <kbd>s</kbd> steps one hop, <kbd>r</kbd> steps this rank only,
              <kbd>h</kbd> runs to here, <kbd>e</kbd> to the end.
            </p>
            ${rankInspector(stepper, walk, live)}
          </div>
          <div class="second">${mergeInspector(stepper, walk, () => this.#offGrid())}</div>
        </div>
      `}
      <p class="unseen" aria-live="polite">${walk === undefined || !live ? "" : this.#news(walk)}</p>
    `;
  }

  #empty(experiment: Experiment | undefined): TemplateResult {
    if (experiment === undefined) {
      return html`
        <section class="card">
          <h2 class="title">Nothing to run yet</h2>
          <p>Correct the marked parts of the sentence, then run it.</p>
        </section>
      `;
    }
    const { N, T } = experiment;
    const need = partialBytes(experiment);
    return html`<section class="card" aria-labelledby="empty">
      <h2 id="empty" class="title">Step through a real run</h2>
      <p>
        Run starts the ${N === 1 ? "rank" : `${N} ranks`} and halts each before its first attention.
        Step all of them hop by hop, or one alone. See what each holds, has sent and waits for, and its (O, LSE) so far.
        The result equals that of a run without halts, to the last bit.
      </p>
      <dl class="sizes">
        <div><dt>Halts of a rank</dt><dd>${formatCount(experiment.variant === "pass-q" && N > 1 ? N + 2 : N)}</dd></div>
        <div><dt>Partial results, all rows at all hops</dt><dd>${formatBytes(need)}</dd></div>
      </dl>
      ${
      need <= KEPT
        ? nothing
        : html`<p class="stale">${this.#tooLarge(experiment)} Only the row of token ${
          formatCount(Math.min(this.#stepper!.selection.token, T - 1))
        } will travel to the page.</p>`
    }
    </section>`;
  }

  #tooLarge(experiment: Experiment): string {
    return `Partial results of all rows at all hops need ${
      formatBytes(partialBytes(experiment))
    }, and this page keeps at ` +
      `most ${formatBytes(KEPT)} of a run. ${formatCount(Math.floor(KEPT / partialBytes(experiment, 1)))} new tokens ` +
      "would fit.";
  }

  #limit({ experiment, watch }: Walk): TemplateResult {
    return html`<p class="stale">${this.#tooLarge(experiment)} Only the row of token ${
      formatCount(watch![0])
    } travels to the page.</p>`;
  }

  /** For screen readers: where all ranks have halted or ended. */
  #news(walk: Walk): string {
    const all = walk.log.map((own, rank) => ({ how: standing(walk, rank), point: walk.points[own.length - 1]?.name }));
    if (all.some(({ how }) => how === "going" || how === "unheard")) return "";
    const halted = all.filter(({ how }) => how === "halted");
    const places = new Set(halted.map(({ point }) => point));
    return halted.length === 0
      ? "All ranks have their results."
      : places.size === 1
      ? `${halted.length === all.length ? "All" : halted.length} ranks halted at ${[...places][0]}.`
      : "Ranks halted at different hops.";
  }

  static override styles = [shared, viewStyle, stepStyle];
}

customElements.define("ringside-step", RingsideStep);
