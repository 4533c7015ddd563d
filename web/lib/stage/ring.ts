/** The ring: what the ranks computed, and where the chunks were, at the selection's moment. */
import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { sayVariant } from "../format/variant.ts";
import { follow } from "../elements/follow.ts";
import { shared } from "../elements/style.ts";
import { fillOf, hatchings } from "../elements/swatch.ts";
import type { Variant } from "../../engine/run.ts";
import { timeKinds } from "../format/kinds.ts";
import { onRankColour, rankColour } from "../format/palette.ts";
import { arcPath, numberSize, onRing, orbitPath, pointOf, SIZE, sizes } from "./geometry.ts";
import { type Doing, doingAt, type Moment, type Motion, type Place, placesAt } from "./motion.ts";
import type { Selection, Subject } from "./selection.ts";

/** `<ringside-ring .motion .variant .selection .moment>`. */
export class RingsideRing extends LitElement {
  static override properties = {
    motion: { attribute: false },
    variant: {},
    selection: { attribute: false },
    moment: { attribute: false },
  };

  declare motion: Motion;
  declare variant: Variant;
  declare selection: Selection;
  /** The stop that was gone to. */
  declare moment: Moment | undefined;

  constructor() {
    super();
    follow(this, () => this.selection, ["pick", "time"]);
  }

  #about(subject: Subject) {
    return {
      enter: () => this.selection.point(subject),
      leave: () => this.selection.point(undefined),
      choose: () => this.selection.choose(subject),
    };
  }

  protected override render(): TemplateResult {
    const { motion, selection, variant } = this;
    const time = Math.min(motion.end, Math.max(motion.from, selection.time ?? motion.from));
    const places = placesAt(motion, time);
    const chunks = places.filter(({ kind }) => kind === "chunk");
    const parcels = places.filter(({ kind }) => kind === "parcel");
    const doing = doingAt(motion, time);
    const skipped = this.#skipped(time);
    const middle = skipped ?? (variant === "pass-q" ? ["Q travels", "KV stays"] : ["KV travels", "Q stays"]);
    return html`<svg viewBox="0 0 ${SIZE} ${SIZE}" role="group" aria-label=${
      sayAll(doing, chunks, parcels.length, variant, skipped)
    }>
      <defs>${hatchings()}</defs>
      ${
      motion.ranks < 3
        ? nothing
        : middle.map((words, i) =>
          svg`<text class="middle" x=${SIZE / 2} y=${SIZE / 2 + 6 + 16 * (i - (middle.length - 1) / 2)}>${words}</text>`
        )
    }
      ${motion.ranks === 1 ? nothing : doing.map(({ rank }) => this.#link(rank, chunks))}
      ${doing.map((one) => this.#rank(one))}
      ${parcels.map((place) => this.#token(place))}
      ${chunks.map((place) => this.#token(place))}
    </svg>`;
  }

  /** Words for the stop at a hop in which no rank attends. */
  #skipped(time: number): readonly string[] | undefined {
    const { motion, moment } = this;
    if (moment === undefined || Math.abs(moment.at - time) > 1e-9) return undefined;
    const own = motion.moments.find(({ hop }) => hop !== undefined && hop === moment.hop);
    if (own?.skipped === undefined) return undefined;
    const flies = motion.journeys.some((journey) => journey.some(({ hop }) => hop === own.hop));
    return [`Hop ${own.hop}: skipped`, "no query sees a key", flies ? "chunks pass through" : "nothing travels"];
  }

  /** The link to the next rank, in the colour of the chunk on it. */
  #link(rank: number, chunks: readonly Place[]): TemplateResult {
    const { ranks } = this.motion;
    const flying = chunks.find(({ from, share }) => from === rank && share > 0 && share < 1);
    const subject = { link: rank };
    const { enter, leave, choose } = this.#about(subject);
    const { orbit } = sizes(ranks);
    const middle = onRing(rank + 0.5, ranks, orbit);
    const turn = (360 * (rank + 0.5)) / ranks;
    return svg`<g class="link ${this.selection.lights(subject) ? "lit" : ""} ${
      flying === undefined ? "" : "busy"
    }" @pointerenter=${enter} @pointerleave=${leave} @click=${choose}>
      <path class="hit" d=${orbitPath(rank, ranks)} />
      <path class="way" d=${orbitPath(rank, ranks)} style=${
      flying === undefined ? "" : `stroke:${rankColour(flying.owner, ranks)}`
    } />
      ${
      ranks > 16
        ? nothing
        : svg`<path class="tip" d="M-3.5 -4L3.5 0L-3.5 4" transform="translate(${middle.x.toFixed(2)} ${
          middle.y.toFixed(2)
        }) rotate(${turn})" />`
    }
    </g>` as TemplateResult;
  }

  /** A rank: its left half shows what stays, its right half what it attends to now, the circle around it how far. */
  #rank({ rank, kind, owner, share, hop }: Doing): TemplateResult {
    const { ranks } = this.motion;
    const { ring, rank: radius } = sizes(ranks);
    const at = onRing(rank, ranks, ring);
    const [x, y] = [at.x.toFixed(2), at.y.toFixed(2)];
    const inner = Math.max(4, radius - 5);
    const half = (side: 0 | 1) =>
      `M${x} ${(at.y - inner).toFixed(2)}A${inner} ${inner} 0 0 ${side} ${x} ${(at.y + inner).toFixed(2)}Z`;
    const subject: Subject = kind === "attend" ? { rank, hop, owner } : { rank };
    const { enter, leave, choose } = this.#about(subject);
    const stays = this.variant === "pass-q" ? "KV" : "Q";
    const visits = this.variant === "pass-q" ? "Q" : "KV";
    const waiting = kind !== "idle" && timeKinds[kind].leans !== undefined;
    const band = kind === "idle" || kind === "attend" ? "" : `stroke:var(${timeKinds[kind].colour})`;
    const large = radius >= 26;
    // Two numbers side by side, or else only the rank's own.
    const both = numberSize(inner, ranks, 13);
    const size = both || numberSize(2 * inner, ranks, 13);
    const text = (value: string | number, dx: number, dy: number, of: number, small = false) => {
      const font = small ? "" : `;font-size:${size.toFixed(1)}px`;
      return svg`
        <text class=${small ? "what" : "number"} x=${(at.x + dx).toFixed(2)} y=${(at.y + dy).toFixed(2)}
          style="fill:${onRankColour(of, ranks)}${font}">${value}</text>
      `;
    };
    const low = large ? 0 : size / 3;
    return svg`<g class="rank ${kind} ${
      this.selection.lights(subject) ? "lit" : ""
    }" @pointerenter=${enter} @pointerleave=${leave} @click=${choose}>
      <title>rank ${rank}: ${sayDoing({ rank, kind, owner, share, hop }, this.variant)}</title>
      <circle class="ground" cx=${x} cy=${y} r=${radius} />
      <path class="half" d=${half(0)} style="fill:${rankColour(rank, ranks)}" />
      ${
      kind === "attend" && owner !== undefined
        ? svg`<path class="half" d=${half(1)} style="fill:${rankColour(owner, ranks)}" />`
        : waiting
        ? svg`<path class="waits" d=${half(1)} style="${fillOf(kind)};stroke:none" />`
        : nothing
    }
      ${size === 0 ? nothing : text(rank, both > 0 ? -inner / 2 : 0, low, rank)}
      ${large ? text(stays, -inner / 2, 12, rank, true) : nothing}
      ${
      kind === "attend" && owner !== undefined && both > 0
        ? svg`${text(owner, inner / 2, low, owner)}${large ? text(visits, inner / 2, 12, owner, true) : nothing}`
        : nothing
    }
      <circle class="band ${waiting ? "waiting" : ""}" style=${band} cx=${x} cy=${y} r=${radius} />
      ${kind === "attend" ? svg`<path class="over" d=${arcPath(at, radius, share!)} />` : nothing}
    </g>` as TemplateResult;
  }

  #token(place: Place): TemplateResult {
    const { ranks } = this.motion;
    const { chunk } = sizes(ranks);
    const parcel = place.kind === "parcel";
    const side = (parcel ? 0.6 * chunk : chunk) * Math.max(0.4, Math.sqrt(place.part));
    const { x, y } = pointOf(place, ranks);
    const subject: Subject = { owner: place.owner, ...(parcel ? { hop: ranks } : {}) };
    const { enter, leave, choose } = this.#about(subject);
    return svg`
      <g class="token ${place.kind} ${this.selection.lights(subject) ? "lit" : ""}" data-owner=${place
        .owner} data-share=${place.share.toFixed(4)}
        transform="translate(${x.toFixed(2)} ${y.toFixed(
          2,
        )})" @pointerenter=${enter} @pointerleave=${leave} @click=${choose}>
            <rect x=${-side / 2} y=${-side / 2} width=${side} height=${side} rx=${side / 5} style="fill:${rankColour(
              place.owner,
              ranks,
            )}" />
            ${side < 11
              ? nothing
              : svg`<text class=${side < 18 ? "what" : "number"} y=${side < 18 ? 3.5 : 4.5} style="fill:${
                onRankColour(place.owner, ranks)
              }">${place.owner}</text>`}
          </g>
    ` as TemplateResult;
  }

  static override styles = [
    shared,
    css`
      svg {
        display: block;
        width: clamp(280px, 36vh, 440px);
        max-width: 100%;
        margin: 0 auto;
        overflow: visible;
      }
      text {
        text-anchor: middle;
        font-variant-numeric: tabular-nums;
        user-select: none;
        pointer-events: none;
      }
      .number {
        font-size: 13px;
        font-weight: 700;
      }
      .what {
        font-size: 9px;
        font-weight: 600;
      }
      .middle {
        font-size: 12px;
        fill: var(--ink-2);
      }
      .hit {
        fill: none;
        stroke: transparent;
        stroke-width: 16;
      }
      .way,
      .tip {
        fill: none;
        stroke: var(--rule-strong);
        stroke-width: 1;
        stroke-opacity: 0.6;
      }
      .busy .way {
        stroke-width: 4;
        stroke-opacity: 1;
      }
      .ground {
        fill: var(--paper);
      }
      .band {
        fill: none;
        stroke: var(--rule-strong);
        stroke-opacity: 0.5;
        stroke-width: 2;
      }
      .over {
        fill: none;
        stroke: var(--attend);
        stroke-width: 5;
      }
      .band.waiting {
        stroke-opacity: 1;
        stroke-width: 3;
        stroke-dasharray: 4 3;
      }
      .merge .band {
        stroke-opacity: 1;
        stroke-width: 5;
      }
      .token rect {
        stroke: var(--paper);
        stroke-width: 1.5;
      }
      .lit .ground,
      .lit .way {
        stroke: var(--accent);
        stroke-width: 6;
        stroke-opacity: 1;
      }
      .lit.busy .way {
        stroke-width: 6;
      }
      .token.lit rect {
        stroke: var(--accent);
        stroke-width: 3;
      }
    `,
  ];
}

/** What a rank does, in words. */
export function sayDoing({ rank, kind, owner, hop, share }: Doing, variant: Variant): string {
  if (kind === "attend") {
    return variant === "pass-q"
      ? `hop ${hop}, attends with the queries of rank ${owner} to its own keys, ${Math.round(100 * share!)} % done`
      : `hop ${hop}, attends to the keys of rank ${owner}${owner === rank ? ", its own" : ""}, ${
        Math.round(100 * share!)
      } % done`;
  }
  return kind === "idle" ? "idle" : (timeKinds[kind].doing ?? kind);
}

function sayAll(
  doing: readonly Doing[],
  chunks: readonly Place[],
  parcels: number,
  variant: Variant,
  skipped: readonly string[] = [],
): string {
  const flying = chunks.filter(({ share }) => share > 0 && share < 1).length;
  return `Ring of ${doing.length} ranks, ${sayVariant(variant)}: ${
    doing.map((one) => `rank ${one.rank} ${sayDoing(one, variant)}`).join("; ")
  }. ${flying} chunks and ${parcels} parcels are under way.${skipped.length === 0 ? "" : ` ${skipped.join(", ")}.`}`;
}

customElements.define("ringside-ring", RingsideRing);
