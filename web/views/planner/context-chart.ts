/** TTFT against context: context parallelism for several N, tensor parallelism over hosts, and the paper's points. */
import { html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { axesStyle } from "../../lib/elements/axes-style.ts";
import { download } from "../../lib/elements/download.ts";
import { savePicture, svgText } from "../../lib/elements/picture.ts";
import "../../lib/elements/scroll.ts";
import { shared } from "../../lib/elements/style.ts";
import { Width } from "../../lib/elements/width.ts";
import { formatCount, formatTime } from "../../lib/format/format.ts";
import { chartStyle } from "./chart-style.ts";
import { csv } from "./exports.ts";
import { axes, type LogScale, path, place, sayTick, sayTokens, spread } from "../../lib/elements/plot.ts";
import type { Curve, CurvePoint, Curves, PaperPoint } from "./requests.ts";
import type { Question } from "../../lib/address/plan.ts";
import { sayError } from "./words.ts";

const height = 352;

/** A point of a curve, with the paper's figures for the same. */
interface Place {
  readonly curve: Curve;
  readonly point: CurvePoint;
  readonly paper: readonly PaperPoint[];
}

/** `<ringside-context-chart .curves .question>`: fires "pick" with the cp, tp, new and cached of a chosen point. */
export class RingsideContextChart extends LitElement {
  static override properties = {
    curves: { attribute: false },
    question: { attribute: false },
    _width: { state: true },
    _active: { state: true },
  };

  declare curves: Curves;
  declare question: Question;
  declare _width: number;
  /** Index of the point whose details show, or -1. */
  declare _active: number;

  constructor() {
    super();
    this._width = 640;
    new Width(this, (width) => (this._width = width));
    this._active = -1;
  }

  get #places(): Place[] {
    return this.curves.curves.flatMap((curve) =>
      curve.points.map((point) => ({
        curve,
        point,
        paper: this.curves.paper.filter((p) => p.cp === curve.cp && p.tp === curve.tp && p.context === point.context),
      }))
    );
  }

  get #x(): LogScale {
    const contexts = this.curves.curves.flatMap(({ points }) => points.map(({ context }) => context));
    return { from: Math.min(...contexts) / 1.12, to: Math.max(...contexts) * 1.12, start: 56, end: this._width - 44 };
  }

  get #y(): LogScale {
    const times = [
      ...this.curves.curves.flatMap(({ points }) => points.map(({ seconds }) => seconds)),
      ...this.curves.paper.map(({ paper }) => paper),
    ];
    return { from: Math.min(...times) / 1.25, to: Math.max(...times) * 1.25, start: height - 48, end: 24 };
  }

  #now({ cp, tp }: Curve): boolean {
    return cp === this.question.cp && tp === this.question.tp;
  }

  #name({ cp, tp }: Curve): string {
    return tp === this.question.tp ? `CP${cp}` : `TP${tp}`;
  }

  #nearest(event: PointerEvent): number {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const [x, y] = [this.#x, this.#y];
    let best = -1;
    let least = 40;
    this.#places.forEach(({ point }, i) => {
      const far = Math.hypot(place(x, point.context) - px, place(y, point.seconds) - py);
      if (far < least) [best, least] = [i, far];
    });
    return best;
  }

  #pick(index: number): void {
    const { curve, point } = this.#places[index] ?? {};
    if (curve === undefined || point === undefined) return;
    this.dispatchEvent(
      new CustomEvent("pick", {
        detail: {
          step: "prefill",
          cp: curve.cp,
          tp: curve.tp,
          new: point.context,
          cached: 0,
          batch: 1,
          persistent: false,
        },
      }),
    );
  }

  async #key(event: KeyboardEvent): Promise<void> {
    const places = this.#places;
    const at = Math.max(0, this._active);
    const { length } = places[at].curve.points;
    const moves: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + length,
      ArrowUp: at - length,
      Home: 0,
      End: places.length - 1,
    };
    if (event.key === "Enter" || event.key === " ") this.#pick(at);
    else if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    const next = moves[event.key];
    if (next === undefined || next < 0 || next >= places.length) return;
    this._active = next;
    await this.updateComplete;
    this.renderRoot.querySelector<SVGElement>(`[data-point="${next}"]`)?.focus();
  }

  #save(kind: "svg" | "png" | "csv"): void {
    if (kind !== "csv") {
      void savePicture(
        "ringside-ttft",
        kind,
        svgText([this.renderRoot.querySelector<SVGSVGElement>(".plot > svg")!], "TTFT against context", [
          `Simulated by Ringside: ${this.question.model}, ${this.question.accelerator} over ${this.question.fabric}; ` +
          "○ does not fit in memory.",
          this.curves.paper.length === 0 ? "" : "Paper: ◆ predicted by the model, ◇ used for calibration.",
        ]),
      );
    } else {
      download(
        "ringside-ttft.csv",
        csv([
          ["cp", "tp", "context (tokens)", "ttft (s)", "variant", "fits", "paper (s)", "paper's cell"],
          ...this.#places.flatMap(({ curve, point, paper }) =>
            (paper.length > 0 ? paper : [undefined]).map((
              p,
            ) => [
              curve.cp,
              curve.tp,
              point.context,
              point.seconds,
              point.variant,
              point.fits,
              p?.paper ?? "",
              p?.id ?? "",
            ])
          ),
        ]),
        "text/csv",
      );
    }
  }

  protected override render(): TemplateResult {
    const [x, y] = [this.#x, this.#y];
    const places = this.#places;
    const { curves, paper } = this.curves;
    const contexts = curves[0].points.map(({ context }) => context);
    const labels = spread(
      curves.map(({ points }) => place(y, points[points.length - 1].seconds) + 4),
      13,
      y.end,
      y.start,
    );
    const tick = this._active === -1 ? Math.max(0, places.findIndex(({ curve }) => this.#now(curve))) : this._active;
    const few = this._width < 480;
    const marks = few ? contexts.filter((_, i) => i % 2 === 0) : contexts;
    return html`
      <figure aria-labelledby="title">
        <div
          class="head"><h2 id="title">TTFT against context <small>full prefill of one sequence, each with its faster variant</small></h2>
              <span class="buttons"><button class="button" @click=${() =>
                this.#save("svg")} aria-label="TTFT chart as SVG">SVG</button><button class="button" @click=${() =>
                this.#save("png")} aria-label="TTFT chart as PNG">PNG</button><button class="button" @click=${() =>
                this.#save("csv")} aria-label="TTFT chart as CSV">CSV</button></span></div>
        <ul class="legend" aria-label="Key of the TTFT chart">
              <li>${sample(svg`<line class="line" x1="0" x2="24" y1="6" y2="6" />`)}CP ranks of ${this.question
                .tp} GPUs</li>
              ${curves.some(({ tp }) => tp !== this.question.tp)
                ? html`<li>${
                  sample(svg`<line class="line tp" x1="0" x2="24" y1="6" y2="6" />`)
                }tensor parallel over hosts</li>`
                : nothing}
              ${curves.some((curve) => this.#now(curve))
                ? html`<li>${
                  sample(svg`<line class="line now" x1="0" x2="24" y1="6" y2="6" />`)
                }the sentence’s layout</li>`
                : nothing}
              ${places.some(({ point }) => !point.fits)
                ? html`<li>${sample(svg`<circle class="dot unfit" cx="12" cy="6" r="3" />`)}does not fit in memory</li>`
                : nothing}
              ${paper.length === 0 ? nothing : html`
                <li>${sample(svg`<path class="paper" d=${diamond(12, 6)} />`)}paper</li>
                <li>${sample(
                  svg`<path class="paper calibrated" d=${diamond(12, 6)} />`,
                )}paper, used for calibration</li>
                <li>${sample(
                  svg`<path class="paper excluded" d=${cross(12, 6)} />`,
                )}paper’s “about 60 s”, contradicted by its tables</li>
              `}
            </ul>
        <div class="plot">
          <svg role="group"
            aria-label="TTFT against context on logarithmic axes, ${curves
              .length} layouts. Arrow keys walk through the points, Enter plans one."
            width=${this._width} height=${height}
            @keydown=${this.#key} @pointermove=${(
              event: PointerEvent,
            ) => (this._active = this.#nearest(event))} @pointerleave=${() => (this._active = -1)} @click=${(
              event: PointerEvent,
            ) => this.#pick(this.#nearest(event))}
            @focusin=${(
              event: FocusEvent,
            ) => (this._active = Number((event.target as SVGElement).dataset.point ?? -1))}>
              ${axes(x, y, { x: sayTokens, y: sayTick, xTitle: "context, tokens", yTitle: "TTFT" }, marks)}
              ${curves.map((curve) =>
                svg`<path class="line ${curve.tp === this.question.tp ? "" : "tp"} ${
                  this.#now(curve) ? "now" : ""
                }" d=${path(curve.points.map(({ context, seconds }) => [place(x, context), place(y, seconds)]))} />`
              )}
              ${places.map(({ curve, point, paper: printed }, i) =>
                svg`
                  <circle class="dot ${this.#now(curve) ? "now" : ""} ${point.fits
                    ? ""
                    : "unfit"}" data-point=${i} tabindex=${i === tick ? 0 : -1} role="img"
                    aria-label=${this.#words(curve, point, printed)} cx=${place(x, point.context)} cy=${place(
                      y,
                      point.seconds,
                    )} r=${this.#now(curve) ? 3.5 : 2.5} />
                `
              )}
              ${paper.map((p) =>
                svg`<path class="paper ${p.excluded === undefined ? p.origin : "excluded"}" d=${
                  (p.excluded === undefined ? diamond : cross)(place(x, p.context), place(y, p.paper))
                } />`
              )}
              ${curves.map((curve, i) =>
                svg`<text class="series ${this.#now(curve) ? "now" : ""}" aria-hidden="true" x=${x.end + 4} y=${
                  labels[i]
                }>${this.#name(curve)}</text>`
              )}
              ${places[this._active] === undefined
                ? nothing
                : svg`<circle class="focus" cx=${place(x, places[this._active].point.context)} cy=${
                  place(y, places[this._active].point.seconds)
                } r="8" />`}
            </svg>
        </div>
        <p class="details">${places[this._active] === undefined
          ? "Point at a layout, or walk through the layouts with the arrow keys. Enter or a click plans one."
          : this.#words(places[this._active].curve, places[this._active].point, places[this._active].paper)}</p>
        <details><summary>The same as a table</summary>${this.#table()}</details>
      </figure>
    `;
  }

  #words(curve: Curve, point: CurvePoint, paper: readonly PaperPoint[]): string {
    const layout = `CP${curve.cp} × TP${curve.tp}, ${sayTokens(point.context)} tokens: ${formatTime(point.seconds)}${
      curve.cp > 1 ? ` in ${sayVariant(point.variant)}` : ""
    }${point.fits ? "" : ", does not fit in memory"}`;
    return `${layout}${
      paper.map((p) =>
        `; ${p.table} prints ${formatTime(p.paper)} (${
          p.excluded === undefined ? `model ${sayError(p.model / p.paper - 1)}, ${p.origin}` : p.excluded
        })`
      ).join("")
    }`;
  }

  #table(): TemplateResult {
    const { curves, paper } = this.curves;
    return html`
      <ringside-scroll label="TTFT by context and layout">
        <table>
          <caption class="unseen">TTFT by context and layout</caption>
          <thead>
            <tr><th scope="col">Context</th>${curves.map((curve) =>
              html`<th scope="col">${this.#name(curve)}</th>`
            )}</tr>
          </thead>
          <tbody>${curves[0].points.map(({ context }, i) =>
            html`<tr><th scope="row">${formatCount(context)}</th>${
              curves.map(({ points }) => html`<td>${formatTime(points[i].seconds)}${points[i].fits ? "" : " *"}</td>`)
            }</tr>`
          )}</tbody>
        </table>
      </ringside-scroll>
          <p class="details">* does not fit in memory</p>
          ${paper.length === 0 ? nothing : html`
            <ringside-scroll label="The paper’s points">
              <table>
                <caption>The paper’s points</caption>
                <thead>
                  <tr>
                    <th scope="col">Cell</th>
                    <th scope="col">Paper</th>
                    <th scope="col">Model</th>
                    <th scope="col">Error</th>
                    <th scope="col">Origin</th>
                  </tr>
                </thead>
                <tbody>${paper.map((p) =>
                  html`
                    <tr>
                      <th scope="row">${p.table}: ${p.label}</th>
                      <td>${formatTime(p.paper)}</td>
                      <td>${formatTime(p.model)}</td>
                      <td>${sayError(p.model / p.paper - 1)}</td>
                      <td>${p.excluded === undefined ? p.origin : "outside the bars"}</td>
                    </tr>
                  `
                )}</tbody>
              </table>
            </ringside-scroll>
          `}
    `;
  }

  static override styles = [shared, axesStyle, chartStyle];
}

function diamond(x: number, y: number): string {
  return `M${x} ${y - 5.5}L${x + 5.5} ${y}L${x} ${y + 5.5}L${x - 5.5} ${y}Z`;
}

function cross(x: number, y: number): string {
  return `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}`;
}

/** A line or mark in a key. */
export function sample(mark: unknown): TemplateResult {
  return html`<svg width="24" height="12" aria-hidden="true">${mark}</svg>`;
}

customElements.define("ringside-context-chart", RingsideContextChart);
