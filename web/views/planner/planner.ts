/**
 * The Planner: the time and memory of a step on a cluster that you don't have, the layout and variant to choose, and how
 * far to trust the answer.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { type PaperReport, sayMask, type Sweep, type SweepRow } from "../../engine/plan.ts";
import { download } from "../../lib/elements/download.ts";
import { follow } from "../../lib/elements/follow.ts";
import { frameStyle } from "../../lib/elements/frame-style.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import type { Variant } from "../../engine/run.ts";
import { formatCount, formatTime } from "../../lib/format/format.ts";
import "../../lib/timeline/timeline.ts";
import "./context-chart.ts";
import { planCsv, planJson } from "./exports.ts";
import { layoutTable } from "./layouts.ts";
import { paperTables, trust } from "./paper-tables.ts";
import "./policy-map.ts";
import { ask, type Curves, type Grid, type Planned } from "./requests.ts";
import { breakdown, dealings, facts, headline, memory } from "./result.ts";
import { plannerSentence } from "./sentence.ts";
import { defaults, type Question } from "../../lib/address/plan.ts";
import { type Kind, PlannerStore } from "./store.ts";
import { plannerStyle } from "./style.ts";
import { sayQuestion } from "./words.ts";

const titles: Readonly<Record<Kind, string>> = {
  plan: "the plan",
  curves: "TTFT against context",
  grid: "the policy map",
  layouts: "the layouts",
  report: "the paper’s tables",
};

/** `<ringside-planner>`. */
export class RingsidePlanner extends LitElement {
  readonly #store = new PlannerStore();

  constructor() {
    super();
    follow(this, () => this.#store, ["change"]);
    follow(this, () => window, ["popstate"], () => this.#store.sync());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#store.begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#store.stop();
  }

  async #trace(variant: Variant): Promise<void> {
    const question = this.#store.asked;
    if (question !== undefined) {
      download(
        `ringside-plan-${variant}.json`,
        await ask<"trace">({ kind: "trace", question, variant }, new AbortController().signal),
      );
    }
  }

  protected override render(): TemplateResult {
    const store = this.#store;
    const planned = store.parts.plan.value;
    const question = store.asked;
    const wrong = !store.possible;
    const old = wrong || store.stale("plan");
    return html`
      <div class="top">
        <ringside-sentence wraps .sentence=${this.#sentence()}></ringside-sentence>
      </div>
      <div class="stage" ${scrolls("Plan and what it rests on")}>
        ${this.#store.parts.plan.failure !== undefined
          ? html`
            <section class="bad" aria-labelledby="failed">
              <h2 id="failed" class="title">The plan failed</h2>
              <p>${this.#store.parts.plan.failure}</p>
              <p>Plan again with a new worker.</p>
            </section>
          `
          : nothing}
        ${planned === undefined || question === undefined ? this.#pending("plan") : html`
          ${wrong
            ? html`<p class="stale">This is the last plan that was possible: ${sayQuestion(question)}.</p>`
            : nothing}<div class="columns ${old ? "old" : ""}" aria-busy=${String(old && !wrong)}>
            <div>${headline(question, planned)}
                      <p class="actions"><button class="button" @click=${() =>
                        download(
                          "ringside-plan.json",
                          planJson(question, planned, location.href),
                        )}>Plan as JSON</button><button class="button" @click=${() =>
                        download("ringside-plan.csv", planCsv(planned), "text/csv")}>Plan as CSV</button></p>
                      </div>
            <div>${breakdown(planned)}</div>
            <div>${memory(planned)}${facts(planned)}</div>
          </div>
          ${dealings(planned)}
        `}
        ${planned === undefined && wrong ? nothing : html`<div class="pair">
          ${
          this.#part("curves", (curves: Curves, asked) =>
            html`<ringside-context-chart .curves=${curves} .question=${asked} @pick=${this.#picked}></ringside-context-chart>`)
        }
          ${
          this.#store.asked?.cp === 1
            ? html`
              <p class="pending"><span>
                With one rank nothing travels, so there is no policy to choose.<br />Two ranks or more have a map.
              </span></p>
            `
            : this.#part("grid", (grid: Grid, asked) =>
              html`
                <ringside-policy-map .grid=${grid} .question=${asked} .report=${this.#store.parts.report.value}
                  @pick=${this.#picked}></ringside-policy-map>
              `)
        }
        </div>
        ${
          this.#part("layouts", (sweep: Sweep, asked) =>
            html`<section aria-label="Layouts">${
              layoutTable(sweep, asked, ({ cp, tp, variant }: SweepRow) =>
                store.pick({ cp, tp, ...(cp === 1 || store.draft.variant === "auto" ? {} : { variant }) }))
            }</section>`)
        }
        ${
          this.#part("report", (report: PaperReport) =>
            html`
              <section class="report" aria-labelledby="report">
                <h2 id="report" class="title">
                  The paper beside the planner
                  <small>Llama 3 405B on Grand Teton (arXiv 2411.01783): every printed figure, the model’s, and whether
                    the calibration used it</small>
                </h2>
                ${paperTables(report)}
              </section>
            `)
        }`}
      </div>
      <section class="time" ${scrolls()} aria-label="Simulated timelines">${this.#timelines(
        planned,
        question,
      )}</section>
      <p class="unseen" role="status">${this.#news(planned)}</p>
    `;
  }

  #picked = ({ detail }: CustomEvent<Partial<Question>>) => this.#store.pick(detail);

  #news(planned: Planned | undefined): string {
    if (this.#store.now !== undefined || planned === undefined || this.#store.refused !== "") return "";
    const { plan } = planned;
    return `${plan.mode === "decode" ? "TTIT" : "TTFT"} ${formatTime(plan.seconds)}${
      plan.cp === 1 ? "" : ` in ${sayVariant(plan.variant)}`
    }; ${plan.memory.fits ? "fits" : "does not fit"} in memory.`;
  }

  #part<K extends "curves" | "grid" | "layouts" | "report">(
    kind: K,
    show: (value: never, question: Question) => TemplateResult,
  ): TemplateResult {
    const { asked, parts } = this.#store;
    const { value, failure, question } = parts[kind];
    if (value !== undefined && asked !== undefined && question !== undefined) {
      return show(value as never, this.#store.stale(kind) ? question : asked);
    }
    if (failure !== undefined) return html`<p class="pending"><span>${failure}.</span></p>`;
    return this.#pending(kind);
  }

  #pending(kind: Kind): TemplateResult {
    const now = this.#store.now?.kind === kind ? this.#store.now : undefined;
    if (!this.#store.possible) {
      return html`<p class="pending">Correct the marked part of the sentence for ${titles[kind]}.</p>`;
    }
    if (this.#store.parts[kind].cancelled) {
      return html`
        <div
          class="pending"><span>Cancelled before ${titles[kind]}.</span><button class="button" @click=${() =>
            this.#store.ask()}>Compute</button></div>
      `;
    }
    return html`<div class="pending"><span>${now === undefined ? "Next" : "Computing"}: ${titles[kind]}</span>${
      now === undefined
        ? nothing
        : now.total === 0
        ? html`<progress aria-label="Computing ${titles[kind]}"></progress>`
        : html`<progress aria-label="Computing ${titles[kind]}" value=${now.done} max=${now.total}></progress>`
    }</div>`;
  }

  #timelines(planned: Planned | undefined, question: Question | undefined): TemplateResult {
    if (planned === undefined || question === undefined) {
      return html`
        <h2>Timelines</h2>
        <p class="said">The simulated spans of one layer appear here.</p>
      `;
    }
    const { both, plan } = planned;
    const drawn = both.every(({ spans }) => spans.length > 0);
    const end = Math.max(
      ...both.map(({ spans }) => spans.reduce((last, { start, duration }) => Math.max(last, start + duration), 0)),
    );
    const { shown } = both[0];
    if (!drawn) {
      return html`
        <h2>Timelines</h2>
        <p class="said">
          Above 256 ranks the engine simulates one rank for all ${formatCount(plan.cp)}: there are no spans of each.
        </p>
      `;
    }
    return html`
      <p class="said">
        Simulated, not measured: one ${plan.kinds.length === 1 ? "" : `${sayMask(plan.kinds[0].mask)} `}layer of ${plan
          .model}, by the engine’s ring programs in virtual time, on
        ${plan.cp} ${plan.cp === 1 ? "rank" : "ranks"}${shown < plan.cp
          ? `. The picture shows the first ${shown}`
          : ""}${both.length === 1 ? "" : ", both on one scale"}.
      </p>
      <div class="times ${both.length === 1 ? "one" : ""}">${both.map(({ variant, spans, shown: some, plan: one }) =>
        html`
          <div>
            <ringside-timeline .heading=${`${both.length === 1 ? "One rank" : sayVariant(variant)}: ${
              one.mode === "decode" ? "TTIT" : "TTFT"
            } ${formatTime(one.seconds)}, ${formatTime(one.layer.seconds)} a layer`} .spans=${spans} .ranks=${one
              .cp} .shown=${some}
              .end=${end}></ringside-timeline>
            <p class="trace"><button class="button" @click=${() => this.#trace(variant)}>Trace of ${both.length === 1
              ? "one rank"
              : sayVariant(variant)} for Perfetto</button></p>
          </div>
        `
      )}</div>
    `;
  }

  #sentence() {
    const store = this.#store;
    const report = store.parts.report.value;
    return plannerSentence({
      draft: store.draft,
      persistent: store.persistent,
      running: store.now !== undefined,
      trust: report === undefined ? "A prediction, not a measurement." : trust(report, store.asked ?? defaults),
      problems: () => store.problems,
      type: (field, text) => store.type(field, text),
      edit: (field, text) => store.edit(field, text),
      // An edit just before may have set off the same plan.
      run: () => store.now === undefined && store.ask(),
      cancel: (event) => {
        // The button turns into the submit button before the click is over, and would submit.
        event.preventDefault();
        store.cancel();
      },
    });
  }

  static override styles = [shared, viewStyle, frameStyle, plannerStyle];
}

customElements.define("ringside-planner", RingsidePlanner);
