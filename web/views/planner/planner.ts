/**
 * The Planner: the time and memory of a step on a cluster that you don't have, the layout and variant to choose, and how
 * far to trust the answer.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { type PaperReport, type Sweep, type SweepRow } from "../../engine/plan.ts";
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
import { layoutTable, MAX_GPUS } from "./layouts.ts";
import { paperTables, trust } from "./paper-tables.ts";
import "./policy-map.ts";
import { type Answers, ask, type Curves, type Grid, type Planned, RefusedQuestion, type Request } from "./requests.ts";
import { breakdown, facts, headline, memory } from "./result.ts";
import { plannerSentence } from "./sentence.ts";
import { defaults, type Field, names, type Question, toQuery } from "../../lib/address/plan.ts";
import { type Draft, draftOf, fromQuery, read, type Reading, tidy } from "./state.ts";
import { plannerStyle } from "./style.ts";
import { sayQuestion } from "./words.ts";

type Kind = Exclude<Request["kind"], "trace">;

/** A part of the view: its last answer, the question of that answer, and what went wrong. */
interface Part<K extends Kind> {
  readonly value?: Answers[K];
  /** The part of the question on which the answer depends. */
  readonly key?: string;
  /** The question of the answer. Others with the same key have the same answer. */
  readonly question?: Question;
  readonly failure?: string;
  readonly cancelled?: boolean;
}

type Parts = { readonly [K in Kind]: Part<K> };

const titles: Readonly<Record<Kind, string>> = {
  plan: "the plan",
  curves: "TTFT against context",
  grid: "the policy map",
  layouts: "the layouts",
  report: "the paper’s tables",
};

/** `<ringside-planner>`. */
export class RingsidePlanner extends LitElement {
  static override properties = {
    _draft: { state: true },
    _reading: { state: true },
    _parts: { state: true },
    _now: { state: true },
    _refused: { state: true },
    _asked: { state: true },
  };

  declare _draft: Draft;
  declare _reading: Reading;
  declare _parts: Parts;
  /** The computation under way. */
  declare _now: { readonly kind: Kind; readonly done: number; readonly total: number } | undefined;
  /** Why the engine rejects the question. */
  declare _refused: string;
  /** The question of the plan shown. */
  declare _asked: Question | undefined;
  #persistent = false;
  #search = "";
  #work: AbortController | undefined;
  constructor() {
    super();
    this._parts = { plan: {}, curves: {}, grid: {}, layouts: {}, report: {} };
    this._now = undefined;
    this._refused = "";
    this._asked = undefined;
    const { draft, persistent } = fromQuery(location.search);
    this._draft = draft;
    this.#persistent = persistent;
    this._reading = read(draft, persistent);
    follow(this, () => window, ["popstate"], () => this.#moved());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#search = location.search;
    this.#take(location.search);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#work?.abort();
  }

  #moved(): void {
    // A step of the history that leads to another view is that view's: nothing is written into its address.
    if (location.search === this.#search || location.hash !== "#planner") return;
    this.#search = location.search;
    this.#take(location.search);
  }

  #take(query: string): void {
    const { draft, persistent } = fromQuery(query);
    this._draft = draft;
    this.#persistent = persistent;
    this.#ask();
  }

  /** Puts a text in a field. The plan and the address follow once all fields can be read. */
  #edit(field: Field, text: string): void {
    const next = { ...this._draft, [field]: tidy(field, text) };
    if (next[field] !== this._draft[field] || this.#typed) this.#persistent = false;
    this.#typed = false;
    this._draft = next;
    this.#ask();
  }

  /** Whether somebody typed in a field since it was last read. */
  #typed = false;

  #type(field: Field, text: string): void {
    this._draft = { ...this._draft, [field]: text };
    this.#typed = true;
  }

  /** Puts the choice from a chart or table into the sentence. */
  #pick(part: Partial<Question>): void {
    const { persistent = false, ...rest } = part;
    const { question } = this._reading;
    this.#persistent = persistent;
    this._draft = {
      ...this._draft,
      ...Object.fromEntries(
        Object.entries(draftOf({ ...question!, ...rest })).filter(([field]) => Object.hasOwn(rest, field)),
      ),
    };
    this.#ask();
  }

  #ask(): void {
    this._reading = read(this._draft, this.#persistent);
    this._refused = "";
    const { question } = this._reading;
    if (question === undefined) {
      this.#work?.abort();
      return;
    }
    history.replaceState(null, "", `?${toQuery(question, location.search)}${location.hash}`);
    this.#search = location.search;
    void this.#run(question);
  }

  /** Computes all parts of an answer in turn, except those that are known. A newer question replaces an older one. */
  async #run(question: Question): Promise<void> {
    this.#work?.abort();
    const work = new AbortController();
    this.#work = work;
    for (const kind of ["plan", "curves", "grid", "layouts", "report"] as const) {
      if (this._parts[kind].cancelled) this.#set(kind, {});
    }
    const wanted: readonly Extract<Request, { kind: Kind }>[] = [
      { kind: "plan", question },
      { kind: "curves", question },
      ...(question.cp === 1 ? [] : [{ kind: "grid", question } as const]),
      { kind: "layouts", question, maxGpus: MAX_GPUS },
      { kind: "report" },
    ];
    for (const request of wanted) {
      const { kind } = request;
      const key = keyOf(kind, question);
      const part = this._parts[kind];
      if (part.value !== undefined && part.key === key) continue;
      this._now = { kind, done: 0, total: 0 };
      try {
        const value = await ask(
          request as never,
          work.signal,
          (done, total) => !work.signal.aborted && (this._now = { kind, done, total }),
        );
        if (work.signal.aborted) return;
        if (kind === "plan") this._asked = question;
        this.#set(kind, { value: value as never, key, question });
      } catch (error) {
        if (work.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        // The sentence shows why the engine rejects a question. A sweep in which nothing fits is a result.
        if (error instanceof RefusedQuestion && kind === "plan") {
          this._refused = message;
          this._now = undefined;
          return;
        }
        this.#set(kind, { failure: message });
      }
    }
    this._now = undefined;
  }

  #set<K extends Kind>(kind: K, part: Part<K>): void {
    this._parts = { ...this._parts, [kind]: part };
  }

  #cancel(event: Event): void {
    // The button turns into the submit button before the click is over, and would submit.
    event.preventDefault();
    this.#work?.abort();
    this._now = undefined;
    for (const kind of Object.keys(this._parts) as Kind[]) {
      if (this._parts[kind].value === undefined) this.#set(kind, { cancelled: true });
    }
  }

  async #trace(variant: Variant): Promise<void> {
    const question = this._asked;
    if (question !== undefined) {
      download(
        `ringside-plan-${variant}.json`,
        await ask<"trace">({ kind: "trace", question, variant }, new AbortController().signal),
      );
    }
  }

  protected override render(): TemplateResult {
    const planned = this._parts.plan.value;
    const question = this._asked;
    const wrong = this._reading.question === undefined || this._refused !== "";
    const old = wrong || this._parts.plan.key !== keyOf("plan", this._reading.question!);
    return html`
      <div class="top">
        <ringside-sentence wraps .sentence=${this.#sentence()}></ringside-sentence>
      </div>
      <div class="stage" ${scrolls("Plan and what it rests on")}>
        ${this._parts.plan.failure !== undefined
          ? html`
            <section class="bad" aria-labelledby="failed">
              <h2 id="failed" class="title">The plan failed</h2>
              <p>${this._parts.plan.failure}</p>
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
        `}
        ${planned === undefined && wrong ? nothing : html`<div class="pair">
          ${
          this.#part("curves", (curves: Curves, asked) =>
            html`<ringside-context-chart .curves=${curves} .question=${asked} @pick=${this.#picked}></ringside-context-chart>`)
        }
          ${
          this._asked?.cp === 1
            ? html`
              <p class="pending"><span>
                With one rank nothing travels, so there is no policy to choose.<br />Two ranks or more have a map.
              </span></p>
            `
            : this.#part("grid", (grid: Grid, asked) =>
              html`
                <ringside-policy-map .grid=${grid} .question=${asked} .report=${this._parts.report.value}
                  @pick=${this.#picked}></ringside-policy-map>
              `)
        }
        </div>
        ${
          this.#part("layouts", (sweep: Sweep, asked) =>
            html`<section aria-label="Layouts">${
              layoutTable(sweep, asked, ({ cp, tp, variant }: SweepRow) =>
                this.#pick({ cp, tp, ...(cp === 1 || this._draft.variant === "auto" ? {} : { variant }) }))
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

  #picked(event: CustomEvent<Partial<Question>>): void {
    if (this._reading.question !== undefined || this._asked !== undefined) this.#pick(event.detail);
  }

  #news(planned: Planned | undefined): string {
    if (this._now !== undefined || planned === undefined || this._refused !== "") return "";
    const { plan } = planned;
    return `${plan.mode === "decode" ? "TTIT" : "TTFT"} ${formatTime(plan.seconds)}${
      plan.cp === 1 ? "" : ` in ${sayVariant(plan.variant)}`
    }; ${plan.memory.fits ? "fits" : "does not fit"} in memory.`;
  }

  #part<K extends "curves" | "grid" | "layouts" | "report">(
    kind: K,
    show: (value: never, question: Question) => TemplateResult,
  ): TemplateResult {
    const { value, failure, key, question } = this._parts[kind];
    const stale = this._reading.question === undefined || key !== keyOf(kind, this._reading.question);
    if (value !== undefined && this._asked !== undefined && question !== undefined) {
      return show(value as never, stale ? question : this._asked);
    }
    if (failure !== undefined) return html`<p class="pending"><span>${failure}.</span></p>`;
    return this.#pending(kind);
  }

  #pending(kind: Kind): TemplateResult {
    const now = this._now?.kind === kind ? this._now : undefined;
    if (this._refused !== "" || this._reading.question === undefined) {
      return html`<p class="pending">Correct the marked part of the sentence for ${titles[kind]}.</p>`;
    }
    if (this._parts[kind].cancelled) {
      return html`
        <div
          class="pending"><span>Cancelled before ${titles[kind]}.</span><button class="button" @click=${() =>
            this.#ask()}>Compute</button></div>
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
          Above 256 ranks the engine simulates one rank for all ${formatCount(
            plan.cp,
          )}, so there are no spans of each to
          draw.
        </p>
      `;
    }
    return html`
      <p class="said">
        Simulated, not measured: one layer of ${plan.model}, by the engine’s ring programs in virtual time, on
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
    const report = this._parts.report.value;
    return plannerSentence({
      draft: this._draft,
      persistent: this.#persistent,
      running: this._now !== undefined,
      trust: report === undefined ? "A prediction, not a measurement." : trust(report, this._asked ?? defaults),
      problems: () => this.#problems,
      type: (field, text) => this.#type(field, text),
      edit: (field, text) => this.#edit(field, text),
      // An edit just before may have set off the same plan.
      run: () => this._now === undefined && this.#ask(),
      cancel: (event) => this.#cancel(event),
    });
  }

  /** What is wrong with the sentence; a refusal of the engine belongs to the field that its text begins with. */
  get #problems(): ReadonlyMap<string, string> {
    if (this._refused === "") return this._reading.problems;
    const field = Object.keys(names).find((name) => new RegExp(`^${name}[ :]`).test(this._refused));
    return new Map([[field ?? "refused", this._refused]]);
  }

  static override styles = [shared, viewStyle, frameStyle, plannerStyle];
}

/** The part of a question on which an answer depends. Two questions with the same key have the same answer. */
function keyOf(kind: Kind, question: Question): string {
  const { cp, tp, model, accelerator, fabric } = question;
  if (kind === "plan") return toQuery(question);
  if (kind === "layouts") return toQuery({ ...question, cp: 1, tp: 1, variant: "auto" });
  return kind === "report" ? "" : [cp, tp, model, accelerator, fabric].join();
}

customElements.define("ringside-planner", RingsidePlanner);
