/** The timeline: swim lanes per rank for the spans of any run: real, planned or remote. */
import { html, LitElement, nothing, type PropertyValues, svg, type TemplateResult } from "lit";
import { axesStyle } from "../elements/axes-style.ts";
import { follow } from "../elements/follow.ts";
import { shared } from "../elements/style.ts";
import { hatchings, swatch } from "../elements/swatch.ts";
import { Width } from "../elements/width.ts";
import type { Span } from "../../engine/run.ts";
import { formatTime } from "../format/format.ts";
import { spanKinds, type TimeKind, timeKind, timeKinds } from "../format/kinds.ts";
import { nextTask } from "../next-task.ts";
import { onRankColour, rankColour } from "../format/palette.ts";
import { type Selection, subjectOf } from "../stage/selection.ts";
import { bar, outline, rankLanes } from "./bars.ts";
import { type Layout, layOut, type Placed } from "./layout.ts";
import { type Scale, ticks, toSeconds, toX } from "./scale.ts";
import { timelineStyle } from "./style.ts";
import { spanTable } from "./table.ts";
import { sayAmount, sayKind, sayPeer } from "./words.ts";

const axis = 24;
const right = 16;

/**
 * `<ringside-timeline .spans .ranks .selection>`: hover or focus a span for its details. Arrow keys walk, + and - zoom,
 * 0 shows all.
 */
export class RingsideTimeline extends LitElement {
  static override properties = {
    spans: { attribute: false },
    ranks: { type: Number },
    note: { type: String },
    heading: { type: String },
    end: { type: Number },
    shown: { type: Number },
    selection: { attribute: false },
    _width: { state: true },
    _active: { state: true },
    _from: { state: true },
    _to: { state: true },
    _table: { state: true },
  };

  /** The spans to draw. */
  declare spans: readonly Span[];
  /** Ranks whose lanes are drawn, with or without spans. */
  declare ranks: number;
  /** The text in place of spans while there are none. */
  declare note: string;
  /** The title above it. */
  declare heading: string;
  /** The least length of the picture in seconds, so that two timelines share a scale. */
  declare end: number;
  /** The number of ranks to draw, from rank 0; 0 means all. */
  declare shown: number;
  /** What is highlighted here and elsewhere, and the cursor's moment. A click on the lanes moves the cursor. */
  declare selection: Selection | undefined;
  declare _width: number;
  /** Index of the span whose details show, or -1. */
  declare _active: number;
  declare _from: number;
  declare _to: number;
  declare _table: boolean;

  #layout: Layout = { ranks: [], spans: [], height: 0 };
  #drawn: readonly Span[] | undefined;
  #end = 1;
  #ringStart = 0;
  #drag: { readonly x: number; readonly from: number; readonly to: number } | undefined;

  constructor() {
    super();
    this.spans = [];
    this.ranks = 0;
    this.note = "";
    this.heading = "Timeline";
    this.end = 0;
    this.shown = 0;
    this._width = 800;
    this._active = -1;
    this._from = 0;
    this._to = 1;
    this._table = false;
    new Width(this, (width) => (this._width = width));
    follow(this, () => this.selection, ["pick"]);
    // During playback only the cursor moves.
    follow(this, () => this.selection, ["time"], () => this.#moveCursor());
  }

  /** Hundreds of new spans are drawn in a separate task. */
  protected override async scheduleUpdate(): Promise<void> {
    if (this.spans !== this.#drawn) await nextTask();
    this.#drawn = this.spans;
    super.scheduleUpdate();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!["spans", "ranks", "shown", "end"].some((name) => changed.has(name as keyof RingsideTimeline))) return;
    this.#layout = layOut(this.spans, this.shown || this.ranks, 8);
    if (!changed.has("spans") && !changed.has("end")) return;
    this._active = -1;
    this.#end = Math.max(1e-6, this.end, ...this.spans.map((span) => span.start + span.duration));
    // To compile a pipeline takes a thousand times as long as a hop: show the ring first.
    const compiled = this.spans.some((span) => span.kind === "compile");
    const attends = this.spans.filter((span) => span.kind === "attend").map((span) => span.start);
    this.#ringStart = compiled && attends.length > 0 ? Math.min(...attends) : 0;
    this.#show(this.#ringStart, this.#end);
  }

  get #left(): number {
    return this._width < 480 ? 36 : 88;
  }

  get #scale(): Scale {
    return { from: this._from, to: this._to, left: this.#left, width: this._width - this.#left - right };
  }

  /** Shows `from` to `to`, within the run. */
  #show(from: number, to: number): void {
    const length = Math.min(this.#end, Math.max(to - from, this.#end * 1e-4, 1e-9));
    this._from = Math.min(Math.max(0, from), this.#end - length);
    this._to = this._from + length;
  }

  #zoom(factor: number, around = this.#middle): void {
    this.#show(around - (around - this._from) * factor, around + (this._to - around) * factor);
  }

  /** The fixed point of a zoom: the selected span if it is in view, or else the middle of the picture. */
  get #middle(): number {
    const span = this.#layout.spans[this._active]?.span;
    const at = span === undefined ? -1 : span.start + span.duration / 2;
    return at >= this._from && at <= this._to ? at : (this._from + this._to) / 2;
  }

  async #focus(index: number): Promise<void> {
    const placed = this.#layout.spans[index];
    if (placed === undefined) return;
    this._active = index;
    const { start, duration } = placed.span;
    const length = this._to - this._from;
    if (start + duration > this._to || start < this._from) {
      this.#show(
        Math.max(0, start + duration / 2 - length / 2),
        Math.max(0, start + duration / 2 - length / 2) + length,
      );
    }
    await this.updateComplete;
    this.renderRoot.querySelector<SVGElement>(`[data-span="${index}"]`)?.focus();
  }

  #key(event: KeyboardEvent): void {
    const { spans } = this.#layout;
    const at = Math.max(0, this._active);
    const act: Record<string, () => void> = {
      "+": () => this.#zoom(0.5),
      "=": () => this.#zoom(0.5),
      "-": () => this.#zoom(2),
      "0": () => this.#show(0, this.#end),
      ArrowRight: () => void this.#focus(Math.min(spans.length - 1, at + 1)),
      ArrowLeft: () => void this.#focus(Math.max(0, at - 1)),
      ArrowDown: () => void this.#focus(this.#neighbour(at, 1)),
      ArrowUp: () => void this.#focus(this.#neighbour(at, -1)),
      Home: () => void this.#focus(0),
      End: () => void this.#focus(spans.length - 1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(act, event.key)) return;
    event.preventDefault();
    act[event.key]();
  }

  /** The span nearest in time on the next lane with spans (1), or on the previous one (-1). */
  #neighbour(index: number, way: 1 | -1): number {
    const { spans } = this.#layout;
    const lane = ({ span }: Placed) => `${span.rank} ${span.lane}`;
    let next = index;
    while (spans[next] !== undefined && lane(spans[next]) === lane(spans[index])) next += way;
    if (spans[next] === undefined) return index;
    const wanted = lane(spans[next]);
    const middle = spans[index].span.start + spans[index].span.duration / 2;
    const far = ({ span }: Placed) => Math.abs(span.start + span.duration / 2 - middle);
    let best = next;
    for (let i = next; spans[i] !== undefined && lane(spans[i]) === wanted; i += way) {
      if (far(spans[i]) < far(spans[best])) best = i;
    }
    return best;
  }

  #moveCursor(): void {
    const cursor = this.renderRoot.querySelector<HTMLElement>(".cursor");
    if (cursor === null) this.requestUpdate();
    else cursor.style.transform = this.#cursor;
  }

  /** The cursor's place; out of sight if the part shown does not contain its moment. */
  get #cursor(): string {
    const time = this.selection?.time;
    const scale = this.#scale;
    return `translateX(${
      time === undefined || time < scale.from || time > scale.to ? -100 : toX(scale, time).toFixed(1)
    }px)`;
  }

  /** Shows the details of a span, and highlights it everywhere. */
  #activate(index: number): void {
    this._active = index;
    this.selection?.point(subjectOf(this.#layout.spans[index].span, this.ranks));
  }

  #leave(): void {
    this.selection?.point(undefined);
  }

  #release(event: PointerEvent): void {
    const moved = this.#drag !== undefined && Math.abs(event.clientX - this.#drag.x) > 3;
    this.#drag = undefined;
    const x = event.clientX - (event.currentTarget as SVGElement).getBoundingClientRect().left;
    const scale = this.#scale;
    if (
      !moved && event.button === 0 && this.selection?.time !== undefined && x >= scale.left &&
      x <= scale.left + scale.width
    ) this.selection.seek(toSeconds(scale, x));
  }

  #point(event: PointerEvent): void {
    if (this.#drag !== undefined) {
      const perPixel = (this.#drag.to - this.#drag.from) / this.#scale.width;
      const by = (this.#drag.x - event.clientX) * perPixel;
      this.#show(this.#drag.from + by, this.#drag.to + by);
      return;
    }
    const index = (event.target as SVGElement).dataset.span;
    if (index !== undefined) this.#activate(Number(index));
    else this.#leave();
  }

  #focused(event: FocusEvent): void {
    const index = (event.target as SVGElement).dataset.span;
    if (index !== undefined) this.#activate(Number(index));
  }

  #grab(event: PointerEvent): void {
    if (event.button !== 0 || event.pointerType === "touch" || this._to - this._from >= this.#end) return;
    this.#drag = { x: event.clientX, from: this._from, to: this._to };
    (event.currentTarget as SVGElement).setPointerCapture(event.pointerId);
  }

  #wheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    this.#zoom(event.deltaY > 0 ? 1.25 : 0.8, toSeconds(this.#scale, event.clientX - box.left));
  }

  protected override render(): TemplateResult {
    const empty = this.spans.length === 0;
    return html`
      <section aria-labelledby="title">
        <div class="top">
          <header>
            <h2 id="title">${this.heading}</h2>
            ${empty ? nothing : this.#legend()}
            ${empty ? nothing : this.#controls()}
          </header>
          ${empty ? html`<p class="details">${this.note}</p>` : this.#details()}
        </div>
        <div class="plot">${this.#plot()}</div>
        ${empty ? nothing : this.#axis()}
        ${empty ? nothing : html`<details @toggle=${(event: ToggleEvent) => (this._table = event.newState === "open")}>
          <summary>The same as a table: ${this.spans.length} spans</summary>
          ${
          this._table
            ? spanTable(
              this.#layout.spans.map(({ span }) => span),
              this.ranks,
              this.heading === "Timeline" ? "Spans" : `Spans: ${this.heading}`,
            )
            : nothing
        }
        </details>`}
      </section>
    `;
  }

  #legend(): TemplateResult {
    const kinds = new Set(this.spans.map((span) => timeKind(span)));
    // Kinds of one colour appear by name.
    const present = new Set<string>(this.spans.map(({ kind }) => kind));
    const others = Object.entries(spanKinds).filter(([kind, { time }]) => time === "other" && present.has(kind)).map((
      [, { name }],
    ) => name);
    return html`<ul class="legend" aria-label="Kinds of time">
      ${
      (Object.keys(timeKinds) as TimeKind[]).filter((kind) => kinds.has(kind)).map((kind) => {
        return html`<li>${swatch(kind)}${kind === "other" ? others.join(", ") : timeKinds[kind].label}</li>`;
      })
    }
      ${
      this.spans.some(({ kind, peer }) => kind === "attend" && peer !== undefined)
        ? html`<li><span class="owner"></span>owner of the chunk attended to</li>`
        : nothing
    }
    </ul>`;
  }

  #controls(): TemplateResult {
    const all = this._from <= 0 && this._to >= this.#end;
    return html`<div class="controls" role="group" aria-label="Part of the run shown">
      ${
      this.#ringStart > 0
        ? html`<button class="button" aria-pressed=${
          String(!all && this._from === this.#ringStart && this._to === this.#end)
        } @click=${() => this.#show(this.#ringStart, this.#end)}>Ring</button>`
        : nothing
    }
      <button class="button" aria-pressed=${String(all)} @click=${() => this.#show(0, this.#end)}>Whole run</button>
      <button class="button square" aria-label="Zoom out" title="Zoom out (-)" ?disabled=${all} @click=${() =>
      this.#zoom(2)}>−</button>
      <button class="button square" aria-label="Zoom in" title="Zoom in (+)" @click=${() => this.#zoom(0.5)}>+</button>
    </div>`;
  }

  #plot(): TemplateResult {
    const scale = this.#scale;
    const { height } = this.#layout;
    const empty = this.spans.length === 0;
    const summary = empty
      ? `Empty lanes of ${this.ranks} ranks`
      : `${this.heading} of ${this.ranks} ranks${
        this.shown > 0 && this.shown < this.ranks ? `, the first ${this.shown} drawn` : ""
      }, ${this.spans.length} spans, ${formatTime(this._from)} to ${
        formatTime(this._to)
      }. Arrow keys walk through the spans.`;
    return html`
      <svg role="group" aria-label=${summary} width=${this._width} height=${height +
        4} class=${this._to - this._from < this.#end ? "pan" : ""}
        @keydown=${this.#key} @pointerover=${this.#point} @pointermove=${(event: PointerEvent) =>
          this.#drag && this.#point(event)}
        @pointerdown=${this.#grab} @pointerup=${this
          .#release} @pointercancel=${() => (this.#drag = undefined)} @pointerleave=${this.#leave}
        @focusin=${this.#focused} @focusout=${this.#leave} @wheel=${this.#wheel}>
            <defs>
              ${hatchings()}
              <clipPath id="clip"><rect x=${scale.left} y="0" width=${scale.width} height=${height} /></clipPath>
            </defs>
            ${empty
              ? nothing
              : this.#ticks(scale).ticks.map(({ at }) =>
                svg`<line class="grid" x1=${toX(scale, at)} x2=${toX(scale, at)} y1="0" y2=${height + 4} />`
              )}
            ${this.#layout.ranks.map((rank) => rankLanes(rank, this.ranks, scale))}
            <g clip-path="url(#clip)">${this.#layout.spans.map((placed, index) => this.#bar(placed, index, scale))}</g>
            ${this.selection?.subject === undefined ? nothing : this.#layout.spans.map((
              placed,
              index,
            ) => (index !== this._active && this.selection!.lights(subjectOf(placed.span, this.ranks))
              ? outline(placed, scale, "lit")
              : nothing)
            )}
            ${this.#layout.spans[this._active] === undefined
              ? nothing
              : outline(this.#layout.spans[this._active], scale, "active")}
          </svg>
          ${empty || this.selection === undefined
            ? nothing
            : html`<i class="cursor" style="transform:${this.#cursor}"></i>`}
    `;
  }

  #ticks(scale: Scale): ReturnType<typeof ticks> {
    return ticks(scale.from, scale.to, Math.max(2, Math.floor(scale.width / 80)));
  }

  #axis(): TemplateResult {
    const scale = this.#scale;
    const { unit, ticks: marks } = this.#ticks(scale);
    return html`<svg class="axis" width=${this._width} height=${axis} aria-hidden="true">
      <line class="rule" x1=${scale.left} x2=${scale.left + scale.width} y1="0.5" y2="0.5" />
      ${marks.map(({ at, label }) => svg`<text class="tick" x=${toX(scale, at)} y="16">${label}</text>`)}
      <text x="3" y="16">${unit}</text>
    </svg>`;
  }

  #bar(placed: Placed, index: number, scale: Scale): TemplateResult | typeof nothing {
    const { start, duration } = placed.span;
    // The span with the keyboard's focus stays: without it the focus would be lost.
    if (index !== this._active && (start > scale.to || start + duration < scale.from)) return nothing;
    const current = this._active === -1 ? index === 0 : index === this._active;
    return bar(placed, index, this.ranks, scale, current);
  }

  #details(): TemplateResult {
    const span = this.#layout.spans[this._active]?.span;
    if (span === undefined) {
      return html`<p class="details">Point at a span for its details, or walk through the spans with the arrow keys.</p>`;
    }
    const kind = timeKind(span);
    return html`
      <p class="details">
        <span class="disc" style="background:${rankColour(span.rank, this.ranks)};color:${onRankColour(
          span.rank,
          this.ranks,
        )}">${span.rank}</span>
        <span>hop ${span.hop}</span>
        <span>${swatch(kind)} <b>${sayKind(span)}</b> ${sayPeer(span)}</span>
        <span><b>${formatTime(span.duration)}</b></span>
        <span>from ${formatTime(span.start)} to ${formatTime(span.start + span.duration)}</span>
        <span>${sayAmount(span)}</span>
      </p>
    `;
  }

  static override styles = [shared, axesStyle, timelineStyle];
}

customElements.define("ringside-timeline", RingsideTimeline);
