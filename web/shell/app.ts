/** The shell: rail on the left, the experiment on top, the view's stage in the middle, the timeline below. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { until } from "lit/directives/until.js";
import { sayVariant } from "../lib/format/variant.ts";
import { experimentSentence } from "../lib/experiment/sentence.ts";
import { formatBytes, formatError } from "../lib/format/format.ts";
import { PageState } from "../lib/experiment/page-state.ts";
import { type View, viewOfAddress } from "./views.ts";
import "../lib/timeline/timeline.ts";
import "./rail.ts";
import { follow } from "../lib/elements/follow.ts";
import { scrolls } from "../lib/elements/scrolls.ts";
import "../lib/elements/sentence.ts";
import { shared } from "../lib/elements/style.ts";

/** `<ringside-app>`: makes the page's state and gives it to everything below. */
export class RingsideApp extends LitElement {
  static override properties = { _view: { state: true } };

  declare _view: View;
  #page = new PageState();
  #loading: Promise<TemplateResult> | undefined;
  #loaded: View | undefined;

  constructor() {
    super();
    this._view = viewOfAddress();
    follow(this, () => this.#page, ["change"]);
    // No hashchange fires if Back leads to another query too, and views write theirs.
    follow(this, () => window, ["popstate"], () => (this._view = viewOfAddress()));
  }

  protected override updated(): void {
    document.title = `Ringside · ${this._view.title}`;
  }

  #stage(): unknown {
    if (this.#loaded === this._view) return this._view.render(this.#page);
    const view = this._view;
    this.#loading = view.load().then(() => {
      this.#loaded = view;
      this.requestUpdate();
      return view.render(this.#page);
    }, (error: unknown) =>
      html`
        <p class="notice"
          role="alert">The view “${view.title}” could not be loaded: ${String(error)}. Reload the page to try again.</p>
      `);
    return until(this.#loading, html`<p class="notice">Loading ${view.title} …</p>`);
  }

  protected override render(): TemplateResult {
    const page = this.#page;
    if (this._view.whole) {
      return html`
        <ringside-rail .current=${this._view.id}></ringside-rail>
        <main class="whole" ${scrolls()} aria-label=${this._view.title}>${this.#stage()}</main>
      `;
    }
    const { result, phase, experiment } = page.state;
    const ranks = result?.report.ranks ?? experiment?.N ?? page.reading.experiment?.N ?? 4;
    const note = phase === "empty"
      ? "Nothing has run yet. The measured spans of a run appear here."
      : page.running
      ? "Spans appear when the ranks have answered."
      : "This run ended before there was anything to draw.";
    return html`
      <ringside-rail .current=${this._view.id}></ringside-rail>
      <div class="head">
        <ringside-sentence .sentence=${experimentSentence(page)}></ringside-sentence>
      </div>
      <main ${scrolls()} aria-label=${this._view.title}>${this.#stage()}</main>
      ${this._view.tall && result === undefined
        ? nothing
        : html`<aside ${scrolls()} aria-label="Timeline">${this.#timelines(ranks, note)}</aside>`}
      <p class="unseen" role="status">${this.#news()}</p>
    `;
  }

  /** The run's timeline, or both variants' timelines on one scale. */
  #timelines(ranks: number, note: string): TemplateResult {
    const { state, other, compare, selection } = this.#page;
    const reports = [state, ...(compare ? [other] : [])].flatMap((
      { result },
    ) => (result === undefined ? [] : [result.report]));
    if (reports.length < 2) {
      return html`<ringside-timeline .spans=${
        reports[0]?.spans ?? none
      } .ranks=${ranks} .note=${note} .selection=${selection}></ringside-timeline>`;
    }
    const end = Math.max(...reports.flatMap(({ spans }) => spans.map(({ start, duration }) => start + duration)));
    return html`<div class="two">${
      [...reports].sort((a, b) => a.variant.localeCompare(b.variant)).map(({ variant, spans }) =>
        html`
          <ringside-timeline .heading=${`Timeline of ${
            sayVariant(variant)
          }`} .spans=${spans} .ranks=${ranks} .end=${end}
            .selection=${selection}></ringside-timeline>
        `
      )
    }</div>`;
  }

  /** For screen readers: the steps of a run, not every hop. */
  #news(): string {
    const { state, other, compare } = this.#page;
    const { phase, check, failure, experiment, result } = state;
    if (compare && phase === "done" && other.phase !== "empty") {
      const name = sayVariant(other.experiment!.variant);
      if (other.phase === "failed") return `${name} failed: ${other.failure?.message}`;
      return other.phase === "done"
        ? `Both variants have run; ${name} ${other.check?.passed ? "passed" : "failed the check"}.`
        : other.phase === "cancelled"
        ? `${name} was cancelled.`
        : `${name} is running on the same input.`;
    }
    switch (phase) {
      case "empty":
        return "";
      case "inputs":
        return "Making the inputs.";
      case "starting":
        return `Starting ${experiment?.N} ranks.`;
      case "compiling":
        return "Compiling the kernels.";
      case "attending":
        return "Ring attention is running.";
      case "checking":
        return "Checking against float64.";
      case "done":
        return `${check?.passed ? "Passed" : "Failed the check"}: largest error of O ${
          formatError(check!.out.max)
        }, of LSE ${formatError(check!.lse.max)}. ${
          formatBytes(result!.report.perRank.reduce((sum, rank) => sum + rank.bytesSent, 0))
        } sent.`;
      case "failed":
        return `${failure?.title}: ${failure?.message}`;
      case "cancelled":
        return result === undefined ? "Cancelled." : "You skipped the check. The result is unchecked.";
    }
  }

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        grid-template: "rail head" auto "rail stage" 1fr "rail time" auto / 96px minmax(0, 1fr);
        min-height: 100dvh;
      }
      ringside-rail {
        grid-area: rail;
      }
      .head {
        grid-area: head;
        padding: 16px 24px;
        border-bottom: 1px solid var(--rule);
      }
      /* Hidden captions belong to the box that scrolls, else they make the page longer. */
      main,
      aside {
        position: relative;
      }
      main {
        grid-area: stage;
        padding: 16px 24px 24px;
        min-width: 0;
      }
      aside {
        grid-area: time;
        min-width: 0;
        padding: 0 24px;
        border-top: 1px solid var(--rule);
        background: var(--paper);
      }
      @media (min-width: 1200px) {
        .two {
          display: grid;
          grid-template-columns: repeat(2, minmax(0, 1fr));
          gap: 0 32px;
        }
      }
      .whole {
        display: grid;
        grid-row: 1 / -1;
        padding: 0;
      }
      .whole > .notice {
        padding: 24px;
      }
      .notice {
        color: var(--ink-2);
      }
      @media screen and (min-width: 900px) and (min-height: 720px) {
        :host {
          height: 100dvh;
        }
        main {
          overflow-y: auto;
        }
        aside {
          max-height: 40dvh;
          overflow-y: auto;
        }
      }
      @media (max-width: 640px) {
        :host {
          grid-template: "rail" auto "head" auto "stage" 1fr "time" auto / minmax(0, 1fr);
        }
        .head,
        main:not(.whole) {
          padding: 16px;
        }
        .whole {
          grid-row: 2 / -1;
        }
        aside {
          padding: 0 16px;
        }
      }
      @media print {
        :host {
          display: block;
        }
        ringside-rail {
          display: none;
        }
      }
    `,
  ];
}

const none: readonly never[] = [];

customElements.define("ringside-app", RingsideApp);
