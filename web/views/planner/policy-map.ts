/** The policy map: T against miss rate, with the rules' borders, the simulation's result, and the paper's measurements. */
import { html, LitElement, nothing, svg, type SVGTemplateResult, type TemplateResult } from "lit";
import { NEAR_TIE, type PaperReport, TABLE_4 } from "../../engine/plan.ts";
import { axesStyle } from "../../lib/elements/axes-style.ts";
import { download } from "../../lib/elements/download.ts";
import { savePicture, svgText } from "../../lib/elements/picture.ts";
import "../../lib/elements/scroll.ts";
import { shared } from "../../lib/elements/style.ts";
import { Width } from "../../lib/elements/width.ts";
import { formatShare } from "../../lib/format/format.ts";
import { type Border, bordersOf } from "./borders.ts";
import { chartStyle } from "./chart-style.ts";
import { sample } from "./context-chart.ts";
import { csv } from "./exports.ts";
import { axes, type LogScale, path, place, sayTokens, valueAt } from "../../lib/elements/plot.ts";
import { mapTables } from "./map-tables.ts";
import { missOf, sayAt, sayMeasured, tokensAt, winner } from "./map-words.ts";
import type { Grid } from "./requests.ts";
import { hasWindows, MAP, onPaper } from "./state.ts";
import type { Question } from "../../lib/address/plan.ts";

const height = 352;

/** `<ringside-policy-map .grid .question .report>`: fires "pick" with the new and cached tokens of a chosen point. */
export class RingsidePolicyMap extends LitElement {
  static override properties = {
    grid: { attribute: false },
    question: { attribute: false },
    report: { attribute: false },
    _width: { state: true },
    _active: { state: true },
    _at: { state: true },
  };

  declare grid: Grid;
  declare question: Question;
  declare report: PaperReport | undefined;
  declare _width: number;
  /** Index of the measured point whose details show, or -1. */
  declare _active: number;
  /** T and miss rate under the pointer. */
  declare _at: readonly [number, number] | undefined;

  constructor() {
    super();
    this._width = 640;
    new Width(this, (width) => (this._width = width));
    this._active = -1;
    this._at = undefined;
  }

  get #x(): LogScale {
    return { from: MAP.tokens[0], to: MAP.tokens[1], start: 48, end: this._width - 12 };
  }

  get #y(): LogScale {
    return { from: MAP.misses[0], to: MAP.misses[1], start: height - 48, end: 24 };
  }

  /** Whether Table 4 has this layout. */
  get #measured(): boolean {
    return onPaper(this.question) && this.question.cp === 4 && this.question.tp === 8;
  }

  #under(event: PointerEvent): void {
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const [x, y] = [this.#x, this.#y];
    this._active = this.#measured
      ? TABLE_4.findIndex((row) => Math.hypot(place(x, row.new) - px, place(y, missOf(row)) - py) < 9)
      : -1;
    const inside = px >= x.start && px <= x.end && py <= y.start && py >= y.end;
    this._at = inside && this._active === -1 ? rounded(valueAt(x, px), valueAt(y, py)) : undefined;
  }

  #pick(): void {
    const row = TABLE_4[this._active];
    const detail = row !== undefined
      ? { new: row.new, cached: row.cached, persistent: row.cached === 0 }
      : this._at === undefined
      ? undefined
      : { ...tokensAt(this._at), persistent: false };
    if (detail !== undefined) {
      this.dispatchEvent(new CustomEvent("pick", { detail: { step: "prefill", batch: 1, ...detail } }));
    }
  }

  async #key(event: KeyboardEvent): Promise<void> {
    const at = Math.max(0, this._active);
    const moves: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      Home: 0,
      End: TABLE_4.length - 1,
    };
    if (event.key === "Enter" || event.key === " ") this.#pick();
    else if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    const next = moves[event.key];
    if (TABLE_4[next] === undefined) return;
    this._active = next;
    this._at = undefined;
    await this.updateComplete;
    this.renderRoot.querySelector<SVGElement>(`[data-point="${next}"]`)?.focus();
  }

  #save(kind: "svg" | "png" | "csv"): void {
    if (kind !== "csv") {
      void savePicture(
        "ringside-policy",
        kind,
        svgText([this.renderRoot.querySelector<SVGSVGElement>(".plot > svg")!], "Policy map", [
          `Simulated by Ringside: ${this.question.model}, ${this.question.accelerator} over ${this.question.fabric}, ` +
          `CP${this.question.cp} × TP${this.question.tp}.`,
          this.#measured ? "Table 4: ● pass-KV measured faster, ○ pass-Q measured faster." : "",
        ]),
      );
      return;
    }
    const { tokens, misses, lead, fits } = this.grid;
    download(
      "ringside-policy.csv",
      csv([
        ["T (tokens)", "miss rate", "pass-Q over pass-KV, simulated", "fits"],
        ...misses.flatMap((miss, r) =>
          tokens.map((T, c) => [T, miss, Math.exp(lead[r * tokens.length + c]), fits[r * tokens.length + c] === 1])
        ),
      ]),
      "text/csv",
    );
  }

  protected override render(): TemplateResult {
    const [x, y] = [this.#x, this.#y];
    const { cp, tp, step } = this.question;
    const borders = bordersOf(this.question);
    const [tints, regionNames] = this.#regions(x, y);
    const here = step === "prefill"
      ? ([this.question.new * this.question.batch, missOf(this.question)] as const)
      : undefined;
    const onMap = here !== undefined && here[0] >= x.from && here[0] <= x.to && here[1] >= y.from;
    return html`<figure aria-labelledby="title">
      <div class="head"><h2 id="title">Policy map <small>pass-KV or pass-Q on CP${cp} × TP${tp}, at the planner’s rates${
      hasWindows(this.question) ? "; the rules assume a causal mask, the simulation does not" : ""
    }</small></h2>
        <span class="buttons"><button class="button" @click=${() =>
      this.#save("svg")} aria-label="Policy map as SVG">SVG</button><button class="button" @click=${() =>
      this.#save("png")} aria-label="Policy map as PNG">PNG</button><button class="button" @click=${() =>
      this.#save("csv")} aria-label="Policy map as CSV">CSV</button></span></div>
      <ul class="legend" aria-label="Key of the policy map">
        ${
      borders.map(({ rule, name }) =>
        html`<li>${sample(svg`<line class="border ${rule}" x1="0" x2="24" y1="6" y2="6" />`)}${name}</li>`
      )
    }
        <li>${sample(svg`<rect class="region-q" x="2" width="20" height="12" />`)}simulated: pass-Q faster</li>
        ${
      this.grid.fits.includes(0)
        ? html`<li>${
          sample(svg`<rect class="region-unfit" x="2" width="20" height="12" />`)
        }does not fit in memory</li>`
        : nothing
    }
        <li>${sample(svg`<rect class="region-tie" x="2" width="20" height="12" />${hatch}`)}near-tie, under ${
      formatShare(NEAR_TIE)
    }</li>
        ${
      this.#measured
        ? html`
          <li>${sample(svg`<circle class="measured pass-kv" cx="12" cy="6" r="5" />`)}Table 4: pass-KV faster</li>
          <li>${sample(svg`<circle class="measured pass-q" cx="12" cy="6" r="4.5" />`)}Table 4: pass-Q faster</li>
        `
        : nothing
    }
        ${
      onMap ? html`<li>${sample(svg`<circle class="here" cx="12" cy="6" r="4.5" />`)}the sentence’s step</li>` : nothing
    }
      </ul>
      <div class="plot"><svg role="group" aria-label="Policy map: new tokens T against miss rate on logarithmic axes. ${
      this.#measured
        ? "Arrow keys walk through the points of Table 4, Enter plans one."
        : "The sentence’s new and cached tokens set the step."
    }" width=${this._width} height=${height}
        @keydown=${this.#key} @pointermove=${this.#under} @pointerleave=${() => ([this._active, this._at] = [
      -1,
      undefined,
    ])} @click=${this.#pick}
        @focusin=${(event: FocusEvent) => (this._active = Number((event.target as SVGElement).dataset.point ?? -1))}>
        <defs>${hatch}</defs>
        ${tints}
        ${axes(x, y, { x: sayTokens, y: formatShare, xTitle: "new tokens T", yTitle: "miss rate T/(T+P)" })}
        ${regionNames}
        ${
      borders.map(({ rule, points }) =>
        svg`<path class="border ${rule}" d=${path(points.map(([T, miss]) => [place(x, T), place(y, miss)]))} />`
      )
    }
        ${borders.map((border) => borderName(border, x, y))}
        ${
      onMap
        ? svg`
          <line class="cross" x1=${place(x, here[0])} x2=${place(x, here[0])} y1=${y.end} y2=${y.start} />
          <line class="cross" x1=${x.start} x2=${x.end} y1=${place(y, here[1])} y2=${place(y, here[1])} />
        `
        : nothing
    }
        ${
      this.#measured
        ? TABLE_4.map((row, i) =>
          svg`
            <circle class="measured ${winner(row)}" data-point=${i} tabindex=${i === Math.max(0, this._active)
              ? 0
              : -1} role="img" aria-label=${sayMeasured(this.question, this.report, row)}
              cx=${place(x, row.new)} cy=${place(y, missOf(row))} r=${winner(row) === "pass-q" ? 4.5 : 5} />
          `
        )
        : nothing
    }
        ${onMap ? svg`<circle class="here" cx=${place(x, here[0])} cy=${place(y, here[1])} r="8" />` : nothing}
        ${
      TABLE_4[this._active] === undefined
        ? nothing
        : svg`<circle class="focus" cx=${place(x, TABLE_4[this._active].new)} cy=${
          place(y, missOf(TABLE_4[this._active]))
        } r="11" />`
    }
      </svg></div>
      <p class="details">${
      this._active >= 0
        ? sayMeasured(this.question, this.report, TABLE_4[this._active])
        : this._at !== undefined
        ? sayAt(this.question, this.grid, this._at)
        : html`Point at the map to see what each rule chooses there. A click${
          this.#measured ? " (on a point, or Enter)" : ""
        } plans that step.`
    }</p>
      ${
      this.#measured ? nothing : html`
        <p class="details">
          Table 4 is for Llama 3 405B, CP4 × TP8, H100 over GTT:
          <a href="#planner" @click=${this.#paper}>show the paper’s layout</a>.
        </p>
      `
    }
      <details><summary>The same as a table</summary>${
      mapTables(this.question, this.grid, this.#measured ? TABLE_4 : [])
    }</details>
    </figure>`;
  }

  #paper(event: Event): void {
    event.preventDefault();
    this.dispatchEvent(
      new CustomEvent("pick", {
        detail: {
          step: "prefill",
          model: "llama3-405b",
          accelerator: "h100-hbm2e",
          fabric: "gtt",
          cp: 4,
          tp: 8,
          batch: 1,
        },
      }),
    );
  }

  /** The tints, and their names, which are above the grid. */
  #regions(x: LogScale, y: LogScale): readonly [SVGTemplateResult, SVGTemplateResult] {
    const { tokens, misses, lead, fits } = this.grid;
    const wide = (x.end - x.start) / tokens.length;
    const high = (y.start - y.end) / misses.length;
    const kind = (
      i: number,
    ) => (fits[i] === 0 ? "unfit" : Math.abs(lead[i]) < Math.log(1 + NEAR_TIE) ? "tie" : lead[i] < 0 ? "q" : "kv");
    const out: SVGTemplateResult[] = [];
    const middle = { q: [0, 0], kv: [0, 0], tie: [0, 0], unfit: [0, 0] };
    for (let r = 0; r < misses.length; r++) {
      for (let c = 0; c < tokens.length;) {
        const first = c;
        const now = kind(r * tokens.length + c);
        while (c < tokens.length && kind(r * tokens.length + c) === now) c++;
        const [left, top, width] = [x.start + first * wide, y.start - (r + 1) * high, (c - first) * wide];
        middle[now][0] += c - first;
        middle[now][1] += (c - first) * (left + width / 2);
        if (now !== "kv") {
          out.push(
            svg`<rect class="region-${now}" x=${left.toFixed(2)} y=${top.toFixed(2)} width=${width.toFixed(2)} height=${
              (high + 0.25).toFixed(2)
            } />`,
          );
        }
      }
    }
    const name = (region: keyof typeof middle, text: string, at: number) => {
      const [count, sx] = middle[region];
      return count > lead.length / 16
        ? svg`<text class="region-name ${region}" text-anchor="middle" x=${sx / count} y=${at}>${text}</text>`
        : nothing;
    };
    return [
      svg`<g aria-hidden="true">${out}</g>`,
      svg`<g aria-hidden="true">${name("q", "pass-Q faster", y.start - 10)}${name("kv", "pass-KV faster", y.end + 40)}${
        name("unfit", "does not fit in memory", y.start - 10)
      }</g>`,
    ];
  }

  static override styles = [shared, axesStyle, chartStyle];
}

const hatch = svg`
  <pattern id="tie" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
    <rect class="tie-line" width="1.5" height="5" />
  </pattern>
`;

function rounded(T: number, miss: number): readonly [number, number] {
  return [Number(T.toPrecision(3)), Number(miss.toPrecision(3))];
}

/** A border's name beside its line, where the four lines are apart. */
function borderName({ rule, points }: Border, x: LogScale, y: LogScale): SVGTemplateResult | typeof nothing {
  if (points.length < 2) return nothing;
  const put = (at: readonly [number, number], dx: number, dy: number, anchor: string, text: string) =>
    svg`<text class="border-name" aria-hidden="true" text-anchor=${anchor} x=${place(x, at[0]) + dx} y=${
      place(y, at[1]) + dy
    }>${text}</text>`;
  if (rule === "alg1") return put(points[0], 6, -6, "start", "Alg. 1");
  if (rule === "alg5") return put(points[0], 6, 18, "start", "Alg. 5");
  return rule === "fitted"
    ? put(points[points.length - 1], -14, 12, "end", "h printed")
    : put(points[0], 12, 10, "start", "h refitted");
}

customElements.define("ringside-policy-map", RingsidePolicyMap);
