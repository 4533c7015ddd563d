/**
 * The Remote view: an experiment on a real machine, its timeline as it arrives, rows that this page recomputes, and the
 * same figures planned and printed.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { download } from "../../lib/elements/download.ts";
import { takeDroppedFiles } from "../../lib/elements/drop.ts";
import { follow, oncePerFrame } from "../../lib/elements/follow.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import "../../lib/elements/sentence.ts";
import { shared } from "../../lib/elements/style.ts";
import { loadEngine, type Span, type Variant } from "../../engine/run.ts";
import { formatBytes, formatCount, formatFlops, formatShare } from "../../lib/format/format.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import "../../lib/timeline/timeline.ts";
import { frameStyle } from "../../lib/elements/frame-style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { checkPanel } from "./check-panel.ts";
import type { Comparison } from "./terms.ts";
import { RingsideRemoteConnect } from "./connect-panel.ts";
import { type AnyLap, doing, heading, laps } from "./laps.ts";
import { machine } from "./machine.ts";
import { type RemoteExperiment, variantsOf } from "./model.ts";
import { chooser, recordedBanner } from "./open-panel.ts";
import { type RecordedRun, writeRun } from "./record.ts";
import { remoteSentence } from "./sentence.ts";
import "./start.ts";
import { type RemoteStore, storeOf } from "./store.ts";
import { remoteStyle } from "./style.ts";
import { passed } from "./verification.ts";

const none: readonly Span[] = [];
/** The most spans of one variant to draw: drawing them takes less than a tenth of a second. */
const SPANS = 1200;

/** The run on the stage, live or recorded. */
interface ShownRun {
  readonly experiment: RemoteExperiment;
  readonly facts: RecordedRun["facts"];
  readonly laps: readonly AnyLap[];
  readonly recorded: boolean;
}

/** `<ringside-remote .page>`: while it is on the page, it takes a file dropped anywhere. */
export class RingsideRemote extends LitElement {
  static override properties = { page: { attribute: false }, _compared: { state: true }, _over: { state: true } };

  declare page: PageState;
  /** The comparison of each finished variant, and its inputs. */
  declare _compared: {
    readonly key: unknown;
    readonly all: readonly { readonly variant: Variant; readonly comparison: Comparison }[];
    readonly show: typeof import("./terms-table.ts");
    readonly nearest: string | undefined;
    readonly accelerator: string;
  } | undefined;
  declare _over: boolean;
  #store: RemoteStore | undefined;
  /** Spans and rows arrive faster than the screen shows them. */
  #update = oncePerFrame(this);
  constructor() {
    super();
    this._over = false;
    this._compared = undefined;
    follow(this, () => this.#store, ["change"], this.#update);
    takeDroppedFiles(this, (over) => (this._over = over), ([file]) => file && void this.#store!.open(file));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#store?.sync();
  }

  protected override willUpdate(): void {
    if (this.#store === undefined) {
      this.#store = storeOf(this.page);
      this.#store.sync();
    }
    void this.#compare();
  }

  /** The run on the stage, or nothing if nothing has run and no file is open. */
  get #stage(): ShownRun | undefined {
    const { shown, runner } = this.#store!;
    if (shown.kind === "run") {
      return {
        experiment: shown.run.experiment,
        facts: shown.run.facts,
        laps: shown.run.laps.map((lap) => ({ ...lap, phase: "done" as const })),
        recorded: true,
      };
    }
    return shown.kind === "live" && runner.job !== undefined ? { ...runner.job, recorded: false } : undefined;
  }

  /** Compares finished variants with the planner and the paper. Loads the planner when it is first needed. */
  async #compare(): Promise<void> {
    const stage = this.#stage;
    const ended = stage?.laps.filter(({ value }) => value !== undefined) ?? [];
    if (stage === undefined || ended.length === 0) {
      this._compared = undefined;
      this.#comparing = undefined;
      return;
    }
    const key = JSON.stringify([
      stage.experiment,
      this.#store!.accelerator,
      stage.recorded,
      ended.map(({ variant, spans, seconds }) => [variant, spans.length, seconds]),
    ]);
    if (this.#comparing === key) return;
    this.#comparing = key;
    const [{ compareAttention, compareLayer, nearest }, show, { readLayer }] = await Promise.all([
      import("./terms.ts"),
      import("./terms-table.ts"),
      import("./layer-report.ts"),
    ]);
    const near = nearest(stage.facts.devices[0]);
    const accelerator = this.#store!.accelerator ?? near ?? "h100-hbm2e";
    const all = await Promise.all(ended.map(async ({ variant, spans, value }) => ({
      variant,
      comparison: stage.experiment.work === "attend"
        ? await compareAttention(stage.experiment, variant, spans, accelerator)
        : await compareLayer(stage.experiment, variant, readLayer(value!), accelerator),
    })));
    if (this.#comparing === key) this._compared = { key, all, show, nearest: near, accelerator };
  }

  #comparing: string | undefined;

  /** The run on the stage as a file. */
  #save(): void {
    const { job } = this.#store!.runner;
    if (job === undefined) return;
    const done = job.laps.flatMap((
      { variant, seconds, value, spans, verification },
    ) => (value === undefined || seconds === undefined
      ? []
      : [{ variant, seconds, value, spans, ...(verification === undefined ? {} : { verification }) }])
    );
    const run: RecordedRun = {
      format: "ringside-remote-run",
      version: 1,
      provenance: {
        date: job.date.toISOString(),
        worker: job.facts.worker,
        client: `the Remote view in ${navigator.userAgent}`,
      },
      facts: job.facts,
      experiment: job.experiment,
      laps: done,
    };
    download(`ringside-remote-${job.experiment.work}-${job.experiment.T}.json`, writeRun(run));
  }

  async #trace(stage: ShownRun, { variant, spans }: AnyLap): Promise<void> {
    const { chromeTrace } = await loadEngine();
    download(
      `ringside-remote-${variant}.json`,
      chromeTrace(spans, `ringside ${heading(stage.experiment)}, ${variant}`),
    );
  }

  protected override render(): TemplateResult {
    const store = this.#store!;
    const { shown, connection: { state } } = store;
    const stage = this.#stage;
    return html`
      <div class="top">
        <ringside-sentence wide wraps .sentence=${remoteSentence(store)}></ringside-sentence>
      </div>
      <div class="stage ${this._over ? "over" : ""}" ${scrolls("Experiment and result")}>
        ${shown.kind === "live" ? nothing : recordedBanner(shown, () => store.close())}
        <div class="result">
          <div class="first">
            <ringside-remote-connect .store=${store}></ringside-remote-connect>
            ${shown.kind === "run"
              ? machine(shown.run.facts, undefined)
              : shown.kind === "check"
              ? machine(shown.check.facts, undefined)
              : state.phase === "connected" || state.phase === "reconnecting"
              ? machine(state.facts, state.limits)
              : stage !== undefined
              ? machine(stage.facts, undefined)
              : nothing}
            ${chooser(store)}
          </div>
          <div class="second">${shown.kind === "check"
            ? checkPanel(shown.check)
            : stage === undefined
            ? html`${this.#preview()}${
              state.phase === "connected" ? nothing : html`<ringside-remote-start></ringside-remote-start>`
            }`
            : this.#results(stage)}</div>
        </div>
      </div>
      <section class="time" ${scrolls()} aria-label="Timelines">${this.#timelines(stage)}</section>
      <p class="unseen" role="status">${this.#news(stage)}</p>
    `;
  }

  #preview(): TemplateResult {
    const { experiment } = this.#store!.reading;
    if (experiment === undefined) {
      return html`
        <section class="card">
          <h2 class="title">Nothing to send yet</h2>
          <p>Correct the marked parts of the sentence.</p>
        </section>
      `;
    }
    const { work, T, P, H, Hkv, D, N, dtype, causal, rows } = experiment;
    const pairs = causal ? T * P + (T * (T + 1)) / 2 : T * (T + P);
    const size = dtype === "f32" ? 4 : 2;
    return html`<section class="card" aria-labelledby="empty">
      <h2 id="empty" class="title">${
      work === "attend" ? "The same experiment on a real machine" : "One layer, and from it the time to the first token"
    }</h2>
      <p class="prose">${
      work === "attend"
        ? `The worker makes Q, K and V from the seed, so no tensor travels to it. It computes ${
          variantsOf(experiment).length === 2 ? "pass-KV, then pass-Q" : sayVariant(variantsOf(experiment)[0])
        } on ${N} ${N === 1 ? "rank" : "ranks"} and returns its spans as they happen. ${
          rows === 0
            ? "No row is verified."
            : `It returns ${formatCount(rows)} rows of O, which this page verifies in float64.`
        }`
        : "The worker computes one GPU’s share of a transformer layer with its ring, under tensor parallelism of eight, and " +
          "derives the TTFT of all layers. The result says what it measured and what it modelled."
    } Connect a worker to run it, or open a recorded run.</p>
      ${
      work === "layer" ? nothing : html`
        <dl class="sizes">
          <div>
            <dt>Attention</dt>
            <dd>${formatFlops(4 * D * H * pairs)}</dd>
          </div>
          <div>
            <dt>K and V</dt>
            <dd>${formatBytes(2 * (T + P) * Hkv * D * size)}</dd>
          </div>
          <div>
            <dt>Q</dt>
            <dd>${formatBytes(T * H * D * size)}</dd>
          </div>
          <div>
            <dt>Miss rate T/(T+P)</dt>
            <dd>${formatShare(T / (T + P))}</dd>
          </div>
          <div>
            <dt>Over the network</dt>
            <dd>${formatBytes(rows * (D + 1) * 4 * variantsOf(experiment).length)} and spans</dd>
          </div>
        </dl>
      `
    }
    </section>`;
  }

  #results(stage: ShownRun): TemplateResult {
    const store = this.#store!;
    const compared = this._compared;
    const ended = stage.laps.some(({ value }) => value !== undefined);
    return html`
      <div class=${store.stale ? "old" : ""}>${store.stale
        ? html`
          <p class="stale">
            The sentence has changed since this run:
            <button class="link" @click=${() => store.use(stage.experiment)}>back to what ran</button>
          </p>
        `
        : nothing}
      <p class="quiet what">${heading(stage.experiment)}${stage.recorded ? "" : `, on ${store.runner.job!.address}`}</p>
      ${laps(stage.laps, stage.experiment, stage.recorded, (fits) => this.#fits(fits))}
      ${ended && !stage.recorded && !store.runner.running
        ? html`<p class="actions"><button class="button" @click=${this.#save}>Save this run</button></p>`
        : nothing}</div>
      ${compared === undefined ? nothing : compared.show.termsTable(compared.all, {
        accelerator: compared.accelerator,
        nearest: compared.nearest,
        device: stage.facts.devices[0]?.name ?? "no named device",
        recorded: stage.recorded,
        choose: (row) => store.planOn(row === compared.nearest ? undefined : row),
      })}
    `;
  }

  /** A button that takes the number of tokens that would fit. */
  #fits(tokens: number): TemplateResult {
    const store = this.#store!;
    return html`<p><button class="button" @click=${() => store.edit("T", String(tokens))}>Take ${
      formatCount(tokens)
    } new tokens</button></p>`;
  }

  #timelines(stage: ShownRun | undefined): TemplateResult {
    const drawn = stage?.laps.filter(({ spans, phase }) => spans.length > 0 || !["waiting"].includes(phase)) ?? [];
    if (stage === undefined || drawn.length === 0) {
      return html`<ringside-timeline .spans=${none} .ranks=${
        Math.min(2, this.#store!.reading.experiment?.N ?? 2)
      } .note=${"The spans of a remote run appear here as they arrive, those of a recorded run as measured."}></ringside-timeline>`;
    }
    const end = Math.max(
      ...drawn.map(({ spans }) => spans.reduce((last, { start, duration }) => Math.max(last, start + duration), 0)),
    );
    return html`<div class="times ${drawn.length === 1 ? "one" : ""}">${
      drawn.map((lap) => {
        const { N } = stage.experiment;
        const shown = Math.min(N, Math.max(1, Math.floor((SPANS * N) / Math.max(1, lap.spans.length))));
        const spans = shown === N ? lap.spans : this.#first(lap.spans, shown);
        return html`<div><ringside-timeline .heading=${`${sayVariant(lap.variant)}${
          stage.recorded ? ", recorded" : ""
        }${
          shown < N ? `, ${shown} of ${N} ranks` : ""
        }`} .spans=${spans} .ranks=${N} .shown=${shown} .end=${end} .note=${`${doing(lap)[0].toUpperCase()}${
          doing(lap).slice(1)
        }: no span has arrived yet.`}></ringside-timeline>
        ${
          lap.value === undefined || lap.spans.length === 0
            ? nothing
            : html`<p class="trace"><button class="button" @click=${() => this.#trace(stage, lap)}>Trace of ${
              sayVariant(lap.variant)
            } for Perfetto</button></p>`
        }</div>`;
      })
    }</div>`;
  }

  /** Spans of the first ranks. Always the same list: the timeline starts again with another one. */
  #first(spans: readonly Span[], ranks: number): readonly Span[] {
    const known = this.#firsts.get(spans) ?? spans.filter(({ rank }) => rank < ranks);
    this.#firsts.set(spans, known);
    return known;
  }

  #firsts = new WeakMap<readonly Span[], readonly Span[]>();

  /** For screen readers: the steps, not every span or row. */
  #news(stage: ShownRun | undefined): string {
    const store = this.#store!;
    if (store.opening !== undefined) return `Opening ${store.opening}.`;
    if (store.problem !== undefined) return `${store.problem.title}: ${store.problem.message}`;
    if (stage === undefined) return RingsideRemoteConnect.news(store);
    if (stage.recorded) return "This is a recorded run.";
    const words = stage.laps.filter(({ phase }) => phase !== "waiting").map((lap) => {
      const done = lap.verification === undefined ? undefined : passed(lap.verification);
      return `${sayVariant(lap.variant)}: ${
        lap.failure !== undefined
          ? lap.failure.title
          : done === undefined
          ? (lap.phase === "running" ? "running" : doing(lap))
          : done
          ? "rows verified"
          : "rows differ from float64"
      }.`;
    });
    return [store.connection.state.phase === "connected" ? "" : RingsideRemoteConnect.news(store), ...words].filter((
      word,
    ) => word !== "").join(" ");
  }

  static override styles = [shared, viewStyle, frameStyle, remoteStyle];
}

customElements.define("ringside-remote", RingsideRemote);
