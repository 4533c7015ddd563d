/** The result as files: O and LSE as .npy, the report, the trace. Also opens the trace in Perfetto. */
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { download } from "../../../lib/elements/download.ts";
import { shared } from "../../../lib/elements/style.ts";
import { loadEngine } from "../../../engine/run.ts";
import type { RunState } from "../../../lib/experiment/run.ts";
import { reportJson, traceTitle } from "../report.ts";
import { type Handover, openInPerfetto } from "./perfetto.ts";

const TRACE = "ringside-trace.json";

const saying: Readonly<Record<Handover | "waiting", string>> = {
  waiting: "Waiting for ui.perfetto.dev to answer …",
  opened: "The trace is open in the window of ui.perfetto.dev. It did not leave this browser, and it contains times, " +
    "sizes and names of spans, but no tensor.",
  blocked: "The browser did not open a window. Allow pop-ups for this page and try again.",
  silent: "ui.perfetto.dev did not answer within 20 s. You may not be able to reach it from here.",
  closed: "You closed the window of ui.perfetto.dev before it had the trace.",
};

/** `<ringside-save .state>` of a run that has a result. */
export class RingsideSave extends LitElement {
  static override properties = { state: { attribute: false }, _perfetto: { state: true } };

  declare state: RunState;
  /** The state of the handover to Perfetto. */
  declare _perfetto: Handover | "waiting" | undefined;

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("state") as RunState | undefined;
    if (before !== undefined && before.result !== this.state.result) this._perfetto = undefined;
  }

  async #tensor(name: "O" | "LSE"): Promise<void> {
    const { result, experiment } = this.state;
    const { T, H } = experiment!;
    const { writeNpy } = await loadEngine();
    download(
      `${name}.npy`,
      name === "O" ? writeNpy([T, H, result!.report.shape.valueDim], result!.out) : writeNpy([T, H], result!.lse),
      "application/octet-stream",
    );
  }

  #report(): void {
    const { result, experiment, compile, check, own } = this.state;
    download("ringside-report.json", reportJson(experiment!, result!.report, compile ?? 0, check, location.href, own));
  }

  async #text(): Promise<string> {
    const { result, experiment } = this.state;
    const { chromeTrace } = await loadEngine();
    return chromeTrace(result!.report.spans, traceTitle(experiment!));
  }

  async #trace(): Promise<void> {
    download(TRACE, await this.#text());
  }

  async #open(): Promise<void> {
    const { result, experiment } = this.state;
    this._perfetto = "waiting";
    const how = await openInPerfetto(this.#text(), traceTitle(experiment!), TRACE);
    if (this.state.result === result) this._perfetto = how;
  }

  protected override render(): TemplateResult {
    const how = this._perfetto;
    const failed = how === "blocked" || how === "silent" || how === "closed";
    return html`
      <p class="actions">
        <button class="button" @click=${() => this.#tensor("O")}>O as .npy</button>
        <button class="button" @click=${() => this.#tensor("LSE")}>LSE as .npy</button>
        <button class="button" @click=${this.#report}>Report as JSON</button>
        <button class="button" @click=${this.#trace}>Trace for Perfetto</button>
        <button class="button" aria-disabled=${how === "waiting" ? "true" : nothing}
          @click=${() =>
            how !== "waiting" && void this.#open()}>Open in Perfetto <span aria-hidden="true">↗</span></button>
      </p>
      <p class="news ${failed ? "failed" : ""}" aria-live="polite">${how === undefined
        ? nothing
        : html`${saying[how]}${
          failed
            ? html`
              Or save the trace (“Trace for Perfetto”) and open <b>${TRACE}</b> at ui.perfetto.dev with “Open trace file”.
            `
            : nothing
        }`}</p>
    `;
  }

  static override styles = [
    shared,
    css`
      :host {
        margin: 16px 0 24px;
      }
      .actions {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
      }
      .news {
        color: var(--ink-2);
        font-size: 13px;
        max-width: 68ch;
      }
      .news:not(:empty) {
        margin-top: 8px;
      }
      .news.failed {
        padding-left: 12px;
        border-left: 3px solid var(--warn);
        color: var(--ink);
      }
      [aria-disabled] {
        color: var(--ink-2);
        cursor: progress;
      }
    `,
  ];
}

customElements.define("ringside-save", RingsideSave);
