/** The mask in blocks of query and key chunks: which rank computed a block at which hop, and what it skipped. */
import { css, html, LitElement, nothing, type PropertyValues, svg, type TemplateResult } from "lit";
import { follow } from "../elements/follow.ts";
import { shared } from "../elements/style.ts";
import { CAUSAL, isLocal, type Mask, type MaskBlock, type MaskChunk, type MaskPicture } from "../../engine/run.ts";
import { formatCount, formatFlops } from "../format/format.ts";
import { saySeen } from "../format/mask.ts";
import { nextTask } from "../next-task.ts";
import { onRankColour, rankColour } from "../format/palette.ts";
import { numberSize } from "./geometry.ts";
import { hopsAt, type Motion, type Progress } from "./motion.ts";
import { type Area, areasOf, middleOf, sizeOf } from "./regions.ts";
import type { Selection, Subject } from "./selection.ts";
import { imbalance } from "./traffic.ts";

const width = 440;
const side = 22;
const top = 38;
/** The share of a block that is seen if its number fits there. */
const ROOM = 0.35;
const WHOLE: Area = [[0, 0], [1, 0], [1, 1], [0, 1]];

/** `<ringside-mask .mask .motion .selection>` of one sequence. A mask without a motion did not run. */
export class RingsideMask extends LitElement {
  static override properties = {
    mask: { attribute: false },
    sees: { attribute: false },
    motion: { attribute: false },
    selection: { attribute: false },
    flops: { type: Number },
    name: {},
    wrong: { attribute: false },
    _at: { state: true },
  };

  declare mask: MaskPicture;
  /** What a query sees. */
  declare sees: Mask;
  declare motion: Motion | undefined;
  declare selection: Selection;
  /** FLOPs of a query-key pair: 2 (D + Dv) H. */
  declare flops: number;
  /** The mask's name. */
  declare name: string;
  /** In a check: whether a block has wrong rows. Such blocks are crossed. */
  declare wrong: ((block: MaskBlock) => boolean) | undefined;
  /** Index of the block under the pointer or keyboard, or -1. */
  declare _at: number;
  #shown = "";
  /** Blocks that were computed, by rank and hop. */
  #groups: readonly (readonly MaskBlock[])[] = [];
  /** What each of them shows as seen. */
  #areas = new Map<MaskBlock, readonly Area[]>();

  constructor() {
    super();
    this._at = -1;
    this.sees = CAUSAL;
    follow(this, () => this.selection, ["pick"]);
    follow(
      this,
      () => this.selection,
      ["time"],
      () => this.#states().flat().join() !== this.#shown && this.requestUpdate(),
    );
  }

  /** Each mask is drawn in a separate task: hundreds of blocks take a while. */
  protected override async scheduleUpdate(): Promise<void> {
    if (!this.hasUpdated) await nextTask();
    super.scheduleUpdate();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("mask")) return;
    this._at = -1;
    this.#areas = new Map(
      this.mask.blocks.filter(({ pairs }) => pairs > 0).map((block) => [
        block,
        block.full ? [WHOLE] : areasOf(this.sees, this.mask.queries[block.query], this.mask.keys[block.key]),
      ]),
    );
    const groups = new Map<string, MaskBlock[]>();
    for (const block of this.mask.blocks) {
      if (block.pairs === 0) continue;
      const key = `${block.rank} ${block.hop}`;
      groups.set(key, [...(groups.get(key) ?? []), block]);
    }
    this.#groups = [...groups.values()];
  }

  get #ranks(): number {
    return this.mask.pairs.length;
  }

  #states(): Progress[][] {
    const { motion, selection } = this;
    if (motion === undefined) return [];
    return hopsAt(motion, selection.time ?? motion.from);
  }

  get #cell(): number {
    return Math.min(25, (width - side) / this.mask.keys.length);
  }

  /** Size of the numbers in blocks; 0 if they would be too small to read. */
  get #digits(): number {
    return numberSize(this.#cell, this.#ranks, 10);
  }

  #place({ query, key }: MaskBlock): { readonly x: number; readonly y: number } {
    return { x: side + key * this.#cell, y: top + query * this.#cell };
  }

  #key(event: KeyboardEvent): void {
    const { blocks, keys } = this.mask;
    const ways: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: keys.length,
      ArrowUp: -keys.length,
    };
    if (event.key === "Escape" && this.selection.chosen !== undefined) this.selection.choose(undefined);
    else if (event.key === "Enter" && this._at >= 0) this.selection.choose(subjectOf(blocks[this._at]));
    else if (Object.hasOwn(ways, event.key)) {
      const next = this._at === -1 ? 0 : this._at + ways[event.key];
      const stays = Math.abs(ways[event.key]) !== 1 || this._at === -1 ||
        Math.floor(next / keys.length) === Math.floor(this._at / keys.length);
      if (next >= 0 && next < blocks.length && stays) this.#stand(next);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #stand(index: number): void {
    this._at = index;
    const block = this.mask.blocks[index];
    this.selection.point(block === undefined || block.pairs === 0 ? undefined : subjectOf(block));
  }

  #point(event: PointerEvent): void {
    const box = (event.currentTarget as SVGSVGElement).getBoundingClientRect();
    const scale = this.#width / box.width;
    const [key, query] = [
      ((event.clientX - box.left) * scale - side) / this.#cell,
      ((event.clientY - box.top) * scale - top) / this.#cell,
    ].map(Math.floor);
    const index = key < 0 || query < 0
      ? -1
      : this.mask.blocks.findIndex((block) => block.query === query && block.key === key);
    if (index !== this._at) this.#stand(index);
  }

  get #width(): number {
    return side + this.mask.keys.length * this.#cell + 2;
  }

  get #height(): number {
    return top + this.mask.queries.length * this.#cell + 2;
  }

  protected override render(): TemplateResult {
    const states = this.#states();
    this.#shown = states.flat().join();
    const { mask } = this;
    return html`
      <svg viewBox="0 0 ${this.#width} ${this.#height}" style="max-width:${Math.round(
        this.#width * 1.1,
      )}px" role="group" tabindex="0"
        aria-label=${`${this.name}: ${mask.queries.length} query chunks by ${mask.keys.length} key chunks, ${
          mask.blocks.filter(({ pairs }) => pairs === 0).length
        } blocks skipped. Arrow keys walk through the blocks.`}
        @keydown=${this.#key} @pointermove=${this.#point} @pointerleave=${() => this.#stand(-1)} @click=${() =>
          this._at >= 0 && this.mask.blocks[this._at].pairs > 0 &&
          this.selection.choose(subjectOf(this.mask.blocks[this._at]))} @focusout=${() => this.#stand(-1)}>
        ${this.#heads()}
        <rect class="ground" x=${side} y=${top} width=${mask.keys.length * this.#cell} height=${mask.queries.length *
          this.#cell} />
        ${this.#groups.map((blocks) => this.#blocks(blocks, states))}
        ${this.#grid()}
        ${this.#crosses()}
        ${this.#groups.map((
          blocks,
        ) => (this.selection.lights(subjectOf(blocks[0]))
          ? svg`<path class="lit" d=${blocks.map((one) => this.#path(one)).join("")} />`
          : nothing)
        )}
        ${this._at < 0
          ? nothing
          : svg`<rect class="at" x=${this.#place(mask.blocks[this._at]).x} y=${
            this.#place(mask.blocks[this._at]).y
          } width=${this.#cell} height=${this.#cell} />`}
      </svg>
      <p class="details" aria-live="polite">${this._at < 0 ? this.#legend() : this.#say(mask.blocks[this._at])}</p>
    `;
  }

  /** A cross in the corner of each wrong block: light under dark, so that it shows on every colour. */
  #crosses(): unknown {
    const { wrong } = this;
    if (wrong === undefined) return nothing;
    const size = Math.min(8, 0.7 * this.#cell);
    const d = this.mask.blocks.filter(wrong).map((block) => {
      const { x, y } = this.#place(block);
      const [left, top] = [x + 2, y + 2].map((at) => Number(at.toFixed(1)));
      return `M${left} ${top}l${size} ${size}m0 ${-size}l${-size} ${size}`;
    }).join("");
    return svg`
      <path class="cross under" d=${d} />
      <path class="cross" d=${d} />
    `;
  }

  #legend(): TemplateResult {
    if (this.wrong !== undefined) {
      const wrong = this.mask.blocks.filter(this.wrong).length;
      return html`Colour: the rank that computes a block${this.#digits === 0 ? nothing : html`; number: the hop`}. ${
        wrong === 0 ? "No block has wrong rows." : html`Crossed: ${formatCount(wrong)} blocks with wrong rows.`
      }`;
    }
    if (this.motion === undefined) {
      return html`The same work; the busiest rank has ${imbalance(this.mask.pairs).toFixed(2)} × the mean.`;
    }
    return html`Colour: the rank that computes a block${
      this.#digits === 0 ? nothing : html`; number: the hop`
    }. Blank: skipped.${isLocal(this.sees) ? ` ${saySeen(this.sees)}.` : nothing}`;
  }

  #say(block: MaskBlock): TemplateResult {
    const [q, k] = [this.mask.queries[block.query], this.mask.keys[block.key]];
    const where = html`queries ${sayRange(q)} × ${k.cached ? "cached " : ""}keys ${sayRange(k)}`;
    if (block.pairs === 0) return html`${where}: skipped, because no query sees a key.`;
    const all = isLocal(this.sees) && !block.full ? ` of ${formatCount((q.end - q.start) * (k.end - k.start))}` : "";
    return html`${where}: <b>rank ${block.rank}, hop ${block.hop}</b>, ${formatFlops(block.pairs * this.flops)}, ${
      formatCount(block.pairs)
    }${all} pairs${block.full || all !== "" ? "" : " on the diagonal"}.${
      this.wrong?.(block)
        ? html`
          <b>Rows are wrong here.</b>
        `
        : nothing
    }`;
  }

  /** The owners of the chunks, along both sides. */
  #heads(): TemplateResult {
    const { queries, keys } = this.mask;
    const cell = this.#cell;
    const mark = ({ owner }: MaskChunk, x: number, y: number) => {
      const size = Math.min(16, cell - 2);
      const digits = numberSize(size, this.#ranks, 10);
      return svg`<rect x=${x - size / 2} y=${y - size / 2} width=${size} height=${size} rx=${size / 4} style="fill:${
        rankColour(owner, this.#ranks)
      }" />
        ${
        digits === 0
          ? nothing
          : svg`<text x=${x} y=${y + 0.35 * digits} style="fill:${
            onRankColour(owner, this.#ranks)
          };font-size:${digits}px">${owner}</text>`
      }`;
    };
    const fresh = keys.findIndex(({ cached }) => !cached);
    const label = (x: number, text: string) => svg`<text class="head" x=${x} y="12">${text}</text>`;
    return svg`
      ${fresh > 0
        ? svg`${label(side, "cached keys")}${label(side + fresh * cell + 2, "new keys")}`
        : label(side, "keys")}
      ${keys.map((chunk, i) => mark(chunk, side + (i + 0.5) * cell, top - 12))}
      ${queries.map((chunk, i) => mark(chunk, side - 12, top + (i + 0.5) * cell))}
    ` as TemplateResult;
  }

  #grid(): TemplateResult {
    const { queries, keys } = this.mask;
    const cell = this.#cell;
    const [right, bottom] = [side + keys.length * cell, top + queries.length * cell];
    const fresh = keys.findIndex(({ cached }) => !cached);
    const lines = [
      ...keys.slice(1).map((_, i) => `M${side + (i + 1) * cell} ${top}V${bottom}`),
      ...queries.slice(1).map((_, i) => `M${side} ${top + (i + 1) * cell}H${right}`),
    ];
    return svg`
      <path class="lines" d=${lines.join("")} />
      <path class="frame" d="M${side} ${top}H${right}V${bottom}H${side}Z${fresh > 0
        ? `M${side + fresh * cell} ${top}V${bottom}`
        : ""}" />
    ` as TemplateResult;
  }

  #path(block: MaskBlock): string {
    const { x, y } = this.#place(block);
    const cell = this.#cell;
    const place = (at: number, share: number) => Number((at + share * cell).toFixed(2));
    return this.#areas.get(block)!.map((area) =>
      `M${area.map(([right, down]) => `${place(x, right)} ${place(y, down)}`).join("L")}Z`
    ).join("");
  }

  /** The blocks of one rank at one hop. */
  #blocks(blocks: readonly MaskBlock[], states: readonly (readonly Progress[])[]): TemplateResult {
    const [{ rank, hop }] = blocks;
    const state = states[rank]?.[hop] ?? "done";
    const cell = this.#cell;
    const digits = this.#digits;
    return svg`<g class=${state}>
      <path class="blocks" d=${blocks.map((block) => this.#path(block)).join("")} style="fill:${
      rankColour(rank, this.#ranks)
    }" />
      ${
      digits === 0 ? nothing : blocks.map((block) => {
        const { x, y } = this.#place(block);
        const area = this.#areas.get(block)!.reduce((most, one) => (sizeOf(one) > sizeOf(most) ? one : most), []);
        if (sizeOf(area) < ROOM) return nothing;
        const [right, down] = middleOf(area);
        const fill = state === "next" ? "" : `;fill:${onRankColour(rank, this.#ranks)}`;
        return svg`
          <text x=${x + right * cell} y=${y + down * cell + 0.35 * digits}
            style="font-size:${digits}px${fill}">${hop}</text>
        `;
      })
    }
    </g>` as TemplateResult;
  }

  static override styles = [
    shared,
    css`
      svg {
        display: block;
        width: 100%;
        outline-offset: 4px;
      }
      text {
        font-size: 10px;
        font-weight: 600;
        fill: var(--ink-2);
        text-anchor: middle;
        pointer-events: none;
        user-select: none;
      }
      .head {
        font-weight: 400;
        font-size: 11px;
        text-anchor: start;
      }
      .ground {
        fill: var(--ink);
        fill-opacity: 0.045;
      }
      .lines {
        fill: none;
        stroke: var(--paper);
        stroke-width: 1;
      }
      .frame {
        fill: none;
        stroke: var(--rule-strong);
        stroke-width: 1;
      }
      .next .blocks {
        fill-opacity: 0.28;
      }
      .now .blocks {
        stroke: var(--ink);
        stroke-width: 3;
      }
      .lit,
      .at {
        fill: none;
        stroke: var(--accent);
        stroke-width: 3;
        pointer-events: none;
      }
      .cross {
        fill: none;
        stroke: #000;
        stroke-width: 2;
        pointer-events: none;
      }
      .cross.under {
        stroke: #fff;
        stroke-width: 4.5;
      }
      .details {
        min-height: 36px;
        margin-top: 8px;
        font-size: var(--small);
        line-height: 18px;
        color: var(--ink-2);
      }
      .details b {
        color: var(--ink);
      }
    `,
  ];
}

function subjectOf({ rank, hop, owner }: MaskBlock): Subject {
  return { rank, hop, owner };
}

function sayRange({ start, end }: MaskChunk): string {
  return end - start === 1
    ? formatCount(start)
    : end === start
    ? "none"
    : `${formatCount(start)}–${formatCount(end - 1)}`;
}

customElements.define("ringside-mask", RingsideMask);
