/** Traces: what a run really did, from profiler traces of its ranks: what each hop hid, and what each rank waited for. */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { chromeTrace, type TracedHop, type TraceReading } from "../../../engine/compare.ts";
import { disc } from "../../../lib/elements/disc.ts";
import { download } from "../../../lib/elements/download.ts";
import { takeDroppedFiles } from "../../../lib/elements/drop.ts";
import { follow } from "../../../lib/elements/follow.ts";
import { frameStyle } from "../../../lib/elements/frame-style.ts";
import "../../../lib/elements/scroll.ts";
import { scrolls } from "../../../lib/elements/scrolls.ts";
import { shared } from "../../../lib/elements/style.ts";
import { swatch } from "../../../lib/elements/swatch.ts";
import { viewStyle } from "../../../lib/elements/view-style.ts";
import { formatCount, formatShare, formatTime } from "../../../lib/format/format.ts";
import "../../../lib/timeline/timeline.ts";
import { commandLine } from "../command-line.ts";
import { quoted } from "../command.ts";
import { checkStyle } from "../style.ts";
import { MOST_SPANS, stepsOf, sumsOf } from "./model.ts";
import type { TraceStore } from "./store.ts";
import { tracesStyle } from "./style.ts";

/** Unknown kernels that are listed. */
const LISTED = 8;

/** `<ringside-traces .store>`: the view puts its parts into the slot at the top. */
export class RingsideTraces extends LitElement {
  static override properties = { store: { attribute: false }, _over: { state: true } };

  declare store: TraceStore;
  /** True while files are dragged over the page. */
  declare _over: boolean;

  constructor() {
    super();
    this._over = false;
    follow(this, () => this.store, ["change"]);
    takeDroppedFiles(this, (over) => (this._over = over), (files) => void this.store.take(files));
  }

  #chosen({ target }: Event): void {
    const input = target as HTMLInputElement;
    const files = [...input.files ?? []];
    // The visitor may choose the same files again.
    input.value = "";
    void this.store.take(files);
  }

  protected override render(): TemplateResult {
    const { store } = this;
    const { read, files } = store;
    return html`
      <div class="top"><slot name="parts"></slot>${this.#head()}</div>
      <div class="stage ${this._over ? "over" : ""}" ${scrolls("Traces")}>
        ${read === undefined ? this.#state() : html`
          ${this.#summary(read.reading)}
          ${stepTable(store)}
          ${hopTable(store)}
          ${remarks(store)}
          ${commandLine(["npx", "ringside-cp", "trace", ...files.map(({ name }) => quoted(name))].join(" "))}
        `}
      </div>
      ${read === undefined
        ? nothing
        : html`<section class="time" ${scrolls()} aria-label="Timeline">${this.#timeline()}</section>`}
      <p class="unseen" role="status">${store.progress !== undefined
        ? "Reading traces."
        : read === undefined
        ? ""
        : `${read.reading.ranks.length} ranks read.`}</p>
    `;
  }

  #head(): TemplateResult {
    const { store } = this;
    const chooser = html`<span class="chooser"><input id="traces" type="file" multiple
      accept=".json,.gz" aria-label="Choose traces" @change=${this.#chosen} /><span class="button"
      aria-hidden="true">Choose traces …</span></span>`;
    if (store.read === undefined) {
      return html`
        <div class="bar-top">
          <p>Profiler traces of one run, a file for each rank</p>
          <p class="actions">${chooser}${store.progress === undefined
            ? nothing
            : html`<button class="button" @click=${() => store.stop()}>Cancel</button>`}</p>
        </div>
      `;
    }
    const { reading, device } = store.read;
    const steps = stepsOf(reading);
    return html`
      <div class="bar-top">
        <p>${reading.ranks.length === 1 ? "One rank" : `${reading.ranks.length} ranks`}, ${device === "gpu"
          ? "GPU kernels"
          : "CPU operators"}, ${steps.length === 1
          ? "one step"
          : html`step <select aria-label="Step" @change=${({ target }: Event) =>
            store.choose(steps[(target as HTMLSelectElement).selectedIndex])}>${
            steps.map((step) => html`<option ?selected=${step === store.step}>${step ?? "outside of steps"}</option>`)
          }</select>, one of ${steps.length}`}</p>
        <p class="actions">${chooser}<button class="button" @click=${() =>
          download(
            "ringside-trace.json",
            chromeTrace(reading.spans, "profiler traces"),
          )}>Trace for Perfetto</button></p>
      </div>
    `;
  }

  #state(): TemplateResult {
    const { progress, failure, cancelled } = this.store;
    if (progress !== undefined) {
      return html`<section class="card" aria-labelledby="reading"><h2 id="reading" class="title">Reading</h2>
        <p>${progress.done} of ${progress.total} traces read.</p>
        <progress aria-label="Reading traces" value=${progress.done} max=${progress.total}></progress></section>`;
    }
    if (failure !== undefined) {
      return html`
        <section class="card bad" role="alert" aria-labelledby="failed">
          <h2 id="failed" class="title">These traces could not be read</h2>
          <p class="message">${failure}</p>
        </section>
      `;
    }
    if (cancelled) {
      return html`
        <section class="card" aria-labelledby="cancelled">
          <h2 id="cancelled" class="title">Cancelled</h2>
          <p>Choose the traces again when you like.</p>
        </section>
      `;
    }
    return html`
      <section class="drop ${this._over ? "over" : ""}" aria-labelledby="empty">
        <h2 id="empty" class="title">See what your run waited for</h2>
        <p>Drop what <code>torch.profiler</code> exports here: <code>rank0.json.gz</code>, <code>rank1.json.gz</code>, and so
              on. Ringside finds attention and communication kernels by their names, cuts steps into hops, and shows how much
              of each hop’s communication ran beside computation and how much the rank waited for.</p>
        <p class="quiet">CUDA and ROCm kernels, or CPU operators over gloo. Files stay on this machine.</p>
      </section>
    `;
  }

  #summary(reading: TraceReading): TemplateResult {
    const view = this.store.view!;
    const { communication, exposed } = sumsOf(view);
    if (reading.hops.length === 0) {
      return html`
        <section>
          <h2 class="verdict">No communication kernel: there is nothing to hide.</h2>
        </section>
      `;
    }
    return html`
      <section>
        <h2
          class="verdict">${formatShare(
            communication === 0 ? 0 : exposed / communication,
          )} of the communication is exposed: the ranks waited ${formatTime(exposed)} of ${formatTime(
            communication,
          )} in all.</h2>
        <ul class="legend">
          <li>${swatch("transfer")} hidden behind computation</li>
          <li>${swatch("wait")} exposed: the rank waited</li>
        </ul>
      </section>
    `;
  }

  #timeline(): TemplateResult {
    const { spans } = this.store.view!;
    const { ranks } = this.store.read!.reading;
    if (spans.length > MOST_SPANS) {
      return html`
        <h2>Timeline</h2>
        <p
          class="said">This step has ${formatCount(spans.length)} spans, more than the ${formatCount(
            MOST_SPANS,
          )} that are drawn here. Save the trace and open it in Perfetto.</p>
      `;
    }
    return html`<ringside-timeline .heading=${"Timeline of the step"} .spans=${spans} .ranks=${
      Math.max(...ranks) + 1
    } .note=${"This step has no attention and no messages."}></ringside-timeline>`;
  }

  static override styles = [shared, viewStyle, frameStyle, checkStyle, tracesStyle];
}

/** Each rank's step. */
function stepTable({ view, read }: TraceStore): TemplateResult {
  const count = Math.max(...read!.reading.ranks) + 1;
  return html`
    <ringside-scroll label="The step on each rank">
      <table>
        <caption>The step on each rank <small>ideal: with all communication hidden</small></caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">Total</th>
            <th scope="col">Attention</th>
            <th scope="col">Computation</th>
            <th scope="col">Communication</th>
            <th scope="col">Exposed</th>
            <th scope="col">Ideal</th>
          </tr>
        </thead>
        <tbody>${view!.steps.map(({ rank, total, attention, computation, communication, exposed, ideal }) =>
          html`
            <tr>
              <th scope="row">${disc(rank, count)}</th>
              <td>${formatTime(total)}</td>
              <td>${formatTime(attention)}</td>
              <td>${formatTime(computation)}</td>
              <td>${formatTime(communication)}</td>
              <td><b>${formatTime(exposed)}</b></td>
              <td>${formatTime(ideal)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Hidden and exposed time of each hop and rank, on one scale. */
function hopTable({ view, read }: TraceStore): TemplateResult | typeof nothing {
  const { hops } = view!;
  if (hops.length === 0) return nothing;
  const { ranks } = read!.reading;
  const count = Math.max(...ranks) + 1;
  const most = Math.max(...hops.flat().map((one) => one?.communication ?? 0), Number.MIN_VALUE);
  const cell = (hop: TracedHop | undefined) =>
    hop === undefined
      ? html`<td class="cell"><span class="apart">–</span></td>`
      : html`<td class="cell" title=${hop.kernels.join(", ")}><b>${formatTime(hop.exposed)}</b> exposed<small>${
        formatTime(hop.hidden)
      } hidden</small><span class="both"
      style="--hidden:${hop.hidden / most};--exposed:${hop.exposed / most}"><i></i><i></i></span></td>`;
  return html`
    <ringside-scroll label="Communication by hop and rank">
      <table class="grid">
        <caption>Communication <small>by hop and rank</small></caption>
        <thead>
          <tr><th scope="col">Hop</th>${ranks.map((rank) => html`<th scope="col">${disc(rank, count)}</th>`)}</tr>
        </thead>
        <tbody>${hops.map((row, hop) => html`<tr><th scope="row">${hop}</th>${row.map(cell)}</tr>`)}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Late ranks, clocks, and kernels that no table knows. */
function remarks({ view, read }: TraceStore): TemplateResult {
  const { offsets, unknown, ranks } = read!.reading;
  const count = Math.max(...ranks) + 1;
  return html`
    <section aria-labelledby="remarks">
      <h2 id="remarks" class="title">Remarks</h2>
      <ul class="list">
        ${view!.late.slice(0, 3).map(({ hop, rank, late }) =>
          html`<li>Hop ${hop}: rank ${disc(rank, count)} begins ${formatTime(late)} after the first.</li>`
        )}
        ${offsets.length < 2
          ? nothing
          : html`<li>Clocks are aligned where exchanges end: ${
            offsets.map(({ rank, seconds }, i) =>
              html`${i === 0 ? "" : ", "}rank ${disc(rank, count)} ${seconds < 0 ? "−" : "+"}${
                formatTime(Math.abs(seconds))
              }`
            )
          }.</li>`}
        ${unknown.length === 0
          ? html`<li>Every kernel’s name is known.</li>`
          : html`<li>Kernels that no table knows count as computation: ${
            unknown.slice(0, LISTED).map(({ name, count: times, seconds }, i) =>
              html`${i === 0 ? "" : ", "}<code>${name.slice(0, 60)}</code> (${formatCount(times)} ×, ${
                formatTime(seconds)
              })`
            )
          }${unknown.length > LISTED ? ` and ${unknown.length - LISTED} more` : ""}.</li>`}
      </ul>
    </section>
  `;
}

customElements.define("ringside-traces", RingsideTraces);
