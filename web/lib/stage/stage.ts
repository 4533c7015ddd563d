/** The Lab's stage: a run played back on the ring, with its mask, links and work. One variant, or both side by side. */
import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { sayVariant } from "../format/variant.ts";
import { follow } from "../elements/follow.ts";
import { savePicture, svgText } from "../elements/picture.ts";
import { shared } from "../elements/style.ts";
import { type Dealing, maskOf, type MaskPicture, type Report } from "../../engine/run.ts";
import { formatError, formatTime } from "../format/format.ts";
import { toQuery } from "../experiment/experiment.ts";
import type { RunState } from "../experiment/run.ts";
import type { PageState } from "../experiment/page-state.ts";
import { failed, progress } from "../experiment/states.ts";
import { viewStyle } from "../elements/view-style.ts";
import "./mask.ts";
import { type Moment, type Motion, motionOf } from "./motion.ts";
import { Player } from "./player.ts";
import "./ring.ts";
import { stageStyle } from "./style.ts";
import { comparisonTable, hopByHop, linkTable, workTable } from "./tables.ts";
import { linksOf, type LinkTraffic, outcomeOf, saySkipped, wholeBytesOf, workOf } from "./traffic.ts";
import "./transport.ts";

/** A run with everything that the stage draws. */
interface Shown {
  readonly state: RunState;
  readonly report: Report;
  readonly motion: Motion;
  readonly mask: MaskPicture;
  /** With the other dealing. */
  readonly instead: MaskPicture;
  readonly links: readonly LinkTraffic[];
  readonly work: readonly number[];
  /** FLOPs of a query-key pair. */
  readonly flops: number;
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** `<ringside-stage .page>`: space plays, arrows step, Home and End go to the ends, Escape releases what is chosen. */
export class RingsideStage extends LitElement {
  static override properties = { page: { attribute: false }, _table: { state: true }, _problem: { state: true } };

  declare page: PageState;
  declare _table: boolean;
  declare _problem: string;
  /** The drawing of each report, made once. */
  readonly #made = new WeakMap<Report, Shown>();
  #player: Player | undefined;
  #report: Report | undefined;
  /** True until a new run has started to play. */
  #fresh = false;

  constructor() {
    super();
    this._table = false;
    this._problem = "";
    follow(this, () => this.page, ["change"]);
    follow(this, () => this.page?.selection, ["pick"]);
    follow(this, () => this.#player, ["change"]);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#player?.pause();
  }

  /** After the stage has left the page, a pending update must not play: another stage moves the same moment. */
  protected override shouldUpdate(): boolean {
    return this.isConnected;
  }

  #shown(state: RunState): Shown | undefined {
    const report = state.result?.report;
    if (report === undefined) return undefined;
    const { ranks, variant, mask: sees, dealing, shape: { heads, headDim, valueDim, sequences }, spans } = report;
    let shown = this.#made.get(report);
    if (shown === undefined) {
      const mask = maskOf(sequences, ranks, variant, sees, dealing);
      const motion = motionOf(report, wholeBytesOf(report, mask));
      shown = {
        state,
        report,
        motion,
        links: linksOf(report, motion),
        work: workOf(spans, ranks),
        flops: 2 * (headDim + valueDim) * heads,
        mask,
        instead: maskOf(sequences, ranks, variant, sees, otherDealing(dealing)),
      };
    } else shown = { ...shown, state };
    this.#made.set(report, shown);
    return shown;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const { page } = this;
    if (changed.has("page")) this.#player = new Player(page.selection, still);
    const player = this.#player!;
    const main = this.#shown(page.state);
    if (main === undefined) {
      player.pause();
      return;
    }
    const other = page.compare ? this.#shown(page.other) : undefined;
    player.take([main.motion, ...(other === undefined ? [] : [other.motion])]);
    // Drawing takes time from computing ranks, so nothing plays until they are done.
    if ([page.state, page.other].some(({ phase }) => phase === "compiling" || phase === "attending")) {
      player.pause();
    }
    if (main.report !== this.#report) {
      this.#report = main.report;
      const { hop } = page;
      const asked = hop === undefined ? undefined : player.moments.find((moment) => moment.hop === hop);
      if (asked === undefined) player.seek(player.from);
      else player.stand(asked);
      this.#fresh = asked === undefined && !still();
    }
    if (this.#fresh && !page.running) {
      this.#fresh = false;
      player.play();
    }
  }

  #step(way: 1 | -1): void {
    this.#stand(this.#player!.step(way));
  }

  #stand({ hop }: Moment): void {
    this.#fresh = false;
    this.page.standAt(hop);
  }

  #go(hop: number): void {
    const moment = this.#player!.moments.find((one) => one.hop === hop)!;
    this.#player!.stand(moment);
    this.#stand(moment);
  }

  #moved(): void {
    this.#fresh = false;
    this.page.standAt(undefined);
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0] as Element;
    // A button uses the space bar; a slider, a list and a scrolling box use the arrows.
    if (target.matches("select, input, [data-scrolls]") && event.key !== " ") return;
    if (target.matches("button, summary, a, select") && event.key === " ") return;
    const player = this.#player!;
    const act: Record<string, () => void> = {
      " ": () => {
        player.toggle();
        this.#moved();
      },
      ArrowRight: () => this.#step(1),
      ArrowLeft: () => this.#step(-1),
      Home: () => {
        player.seek(player.from);
        this.#moved();
      },
      End: () => {
        player.seek(player.end);
        this.#moved();
      },
      Escape: () => this.page.selection.chosen !== undefined && this.page.selection.choose(undefined),
    };
    if (!Object.hasOwn(act, event.key)) return;
    event.preventDefault();
    act[event.key]();
  }

  async #picture(kind: "svg" | "png"): Promise<void> {
    const charts = [...this.renderRoot.querySelectorAll<HTMLElement>("ringside-ring, ringside-mask.ran")].map((
      element,
    ) => element.shadowRoot!.querySelector<SVGSVGElement>("svg")!);
    const { experiment, result } = this.page.state;
    const { N, T, P, H, Hkv, D } = experiment!;
    const variants = this.page.other.result !== undefined && this.page.compare
      ? "pass-KV and pass-Q"
      : sayVariant(experiment!.variant);
    const lines = [
      `Ringside: ${variants}, N ${N}, T ${T}, P ${P}, H ${H}/${Hkv}, D ${D}; ${result!.report.adapter.name}; at ${
        formatTime(this.#player!.time)
      } of the run.`,
      "Ring: left half what stays, right half what the rank attends to. Mask: colour for the rank, number for the hop.",
    ];
    try {
      await savePicture(
        `ringside-stage-${experiment!.variant}`,
        kind,
        svgText(charts, `Ring attention, ${toQuery(experiment!)}`, lines),
      );
      this._problem = "";
    } catch (error) {
      this._problem = error instanceof Error ? error.message : String(error);
    }
  }

  protected override render(): TemplateResult | typeof nothing {
    const { page } = this;
    const main = this.#shown(page.state);
    if (main === undefined) return nothing;
    const { compare } = page;
    const old = page.stale ? "old" : "";
    const other = compare ? this.#shown(page.other) : undefined;
    const pair = main.report.variant === "pass-kv" ? [main, other] : [other, main];
    const most = Math.max(1, ...[main, other].flatMap((one) => one?.links.map(({ bytes }) => bytes) ?? []));
    return html`<section aria-labelledby="stage" @keydown=${this.#key}>
      <header>
        <h2 id="stage">${compare ? "pass-KV beside pass-Q" : sayVariant(main.report.variant)}</h2>
        ${compare ? nothing : html`<p class="checked ${old}">${sayCheck(page.state)}</p>`}
        <ringside-transport .player=${this.#player} .selection=${page.selection} .motion=${main.motion} @step=${(
      event: CustomEvent<1 | -1>,
    ) => this.#step(event.detail)} @moved=${this.#moved}></ringside-transport>
        <div class="tools">
          <button class="button" aria-pressed=${String(compare)} @click=${() =>
      void page.comparing(!compare)}>Compare ${sayVariant("pass-kv")} and ${sayVariant("pass-q")}</button>
          <button class="button" @click=${() => this.#picture("svg")} aria-label="Stage as SVG">SVG</button>
          <button class="button" @click=${() => this.#picture("png")} aria-label="Stage as PNG">PNG</button>
        </div>
      </header>
      ${this._problem === "" ? nothing : html`<p class="stale" role="alert">${this._problem}</p>`}
      ${
      compare
        ? html`
          <div class="pair">${pair.map((one, i) =>
            html`<div class="pane"><div class="name"><h3>${sayVariant(i === 0 ? "pass-kv" : "pass-q")}</h3>${
              one === undefined ? nothing : html`<p class="checked ${old}">${sayCheck(one.state)}</p>`
            }</div>${one === undefined ? this.#pending() : this.#ring(one)}</div>`
          )}</div>
          ${other === undefined ? nothing : this.#compared(pair as [Shown, Shown])}
          <div class="pair">${pair.map((one) =>
            html`<div class="pane">${one === undefined ? nothing : this.#facts(one, most)}</div>`
          )}</div>
        `
        : html`<div class="single">${this.#ring(main)}<div class="pane">${this.#facts(main, most)}</div></div>`
    }
      <details @toggle=${(event: ToggleEvent) => (this._table = event.newState === "open")}>
        <summary>Hop by hop, as a table</summary>
        ${
      this._table
        ? html`<div class=${compare ? "pair" : ""}>${
          [main, other].map((one) => (one === undefined ? nothing : html`<div class="pane">${
            hopByHop(
              one.motion,
              one.report.variant,
              compare ? `, ${sayVariant(one.report.variant)}` : "",
              page.selection,
              (hop) => this.#go(hop),
            )
          }</div>`))
        }</div>`
        : nothing
    }
      </details>
    </section>`;
  }

  #ring({ report, motion }: Shown): TemplateResult {
    return html`
      <figure class="ring">
        <ringside-ring .motion=${motion} .variant=${report.variant} .selection=${this.page
          .selection} .moment=${this.#player!.moment}></ringside-ring>
        <figcaption>${sayHalves(report)}${sayParts(motion)} The ring took ${formatTime(
          motion.end - motion.from,
        )}, shown ${this.#player!
          .pace}.${sayUnseen(motion)}</figcaption>
      </figure>
    `;
  }

  #facts({ report, motion, mask, instead, links, work, flops }: Shown, most: number): TemplateResult {
    const { selection } = this.page;
    const name = sayVariant(report.variant);
    const of = this.page.compare ? `, ${name}` : "";
    const other = otherDealing(report.dealing);
    const skipped = saySkipped(report);
    return html`
      <div class="masks">
        <section>
          <h3>Mask <small>who computes which block, at which hop</small></h3>
          <ringside-mask class="ran" .mask=${mask} .sees=${report.mask} .motion=${motion} .flops=${flops}
            .name=${`Mask of ${name}`} .selection=${selection}></ringside-mask>
        </section>
        ${report.ranks === 1 ? nothing : html`
          <section>
            <h3>${other === "contiguous" ? "Contiguous" : "Head-tail"} shards instead <small>not run</small></h3>
            <ringside-mask .mask=${instead} .sees=${report.mask} .flops=${flops}
              .name=${`Mask of ${name} with ${other} shards`} .selection=${selection}></ringside-mask>
          </section>
        `}
      </div>
      ${skipped === undefined ? nothing : html`<p class="skipped">Skipped: <b>${skipped}</b>.</p>`}
      <div class="tables">
        ${workTable(work, instead, flops, report.dealing, of, selection)}
        ${linkTable(links, report, most, of, selection)}
      </div>
    `;
  }

  /** In the place of the other variant until it has run. */
  #pending(): TemplateResult {
    const { other, state, backend } = this.page;
    const again = html`<p><button class="button" @click=${() => void this.page.comparing(true)}>Run it</button></p>`;
    if (other.phase === "failed") return failed(other, () => void this.page.comparing(true));
    if (other.phase === "cancelled") {
      return html`<section class="card"><p>Cancelled before its end.</p>${again}</section>`;
    }
    if (other.phase !== "empty") return progress(other, backend);
    return state.phase === "done"
      ? html`<section class="card"><p>It has not run on this input yet.</p>${again}</section>`
      : html`
        <section class="card">
          <p>It runs on the same input after the check of this one.</p>
        </section>
      `;
  }

  #compared([kv, q]: [Shown, Shown]): TemplateResult {
    const error = (
      { state }: Shown,
    ) => (state.check === undefined
      ? "not checked"
      : `${formatError(state.check.out.max)}, ${state.check.passed ? "passed" : "failed"}`);
    return html`<div class="compared">${
      comparisonTable(outcomeOf(kv.report, kv.motion), outcomeOf(q.report, q.motion), [error(kv), error(q)])
    }</div>`;
  }

  static override styles = [shared, viewStyle, stageStyle];
}

/** The dealing to compare a run's with. */
function otherDealing(dealing: Dealing): Dealing {
  return dealing === "contiguous" ? "head-tail" : "contiguous";
}

function sayCheck({ check, phase }: RunState): TemplateResult | string {
  if (check === undefined) return phase === "checking" ? "checking …" : "not checked";
  return check.passed
    ? html`<span class="good">✓ agrees with float64</span>`
    : html`<span class="wrong">✗ differs from float64</span>`;
}

function sayHalves({ variant, ranks }: Report): string {
  if (ranks === 1) return "One rank: it attends to its own keys.";
  return variant === "pass-q"
    ? "Left half: a rank’s keys, which stay. Right half: the owner of the visiting queries. Squares: queries under way, " +
      "and partial results at the end."
    : "Left half: a rank’s queries, which stay. Right half: the owner of the visiting keys and values. Squares: keys and " +
      "values under way.";
}

/** Says what a small square is. */
function sayParts({ journeys, parcels }: Motion): string {
  return [...journeys.flat(), ...parcels].some(({ part }) => part < 1)
    ? " A smaller square is the part of a chunk that later ranks need."
    : "";
}

/** Says if chunks travel too briefly to be seen. */
function sayUnseen({ journeys, from, end }: Motion): string {
  const flights = journeys.flat();
  const longest = Math.max(0, ...flights.map((flight) => flight.end - flight.start));
  return flights.length > 0 && longest < 0.01 * (end - from)
    ? ` Each transfer took less than ${
      formatTime(0.01 * (end - from))
    }, so chunks seem to jump. With a slower link you see them travel.`
    : "";
}

customElements.define("ringside-stage", RingsideStage);
