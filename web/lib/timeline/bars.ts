/** The timeline's drawing: the lanes of a rank, a span's bar, and the outline of a highlighted bar. */
import { nothing, svg, type TemplateResult } from "lit";
import { fillOf } from "../elements/swatch.ts";
import { timeKind } from "../format/kinds.ts";
import { lanes, onRankColour, rankColour } from "../format/palette.ts";
import type { Placed, RankPlace } from "./layout.ts";
import { type Scale, toX } from "./scale.ts";
import { describe } from "./words.ts";

/** A rank's mark, and its empty lanes with their names if there is room. */
export function rankLanes({ rank, y, lanes: places }: RankPlace, ranks: number, scale: Scale): TemplateResult {
  const colour = onRankColour(rank, ranks);
  const name = (lane: RankPlace["lanes"][number]) =>
    svg`
      <text class="lane-name" x=${scale.left - 10} y=${lane.y + lane.height / 2 + 4}>${lanes[lane.lane]}</text>
    `;
  return svg`
    <g aria-hidden="true">
      <circle cx="12" cy=${y + 10} r="9" fill=${rankColour(rank, ranks)} />
      <text class="number" x="12" y=${y + 14} fill=${colour} style="fill:${colour}">${rank}</text>
      ${places.map((lane) =>
        svg`
          <rect class="lane" x=${scale.left} y=${lane.y} width=${scale.width} height=${lane.height} />
          ${scale.left > 60 ? name(lane) : nothing}
        `
      )}
    </g>
  ` as TemplateResult;
}

/** A span's bar. A strip and a number show the owner of the chunk. `current`: the bar that Tab reaches. */
export function bar(
  { span, y, height }: Placed,
  index: number,
  ranks: number,
  scale: Scale,
  current: boolean,
): TemplateResult {
  // A bar ends shortly beyond the picture's edge, so that no coordinate exceeds a renderer's limits.
  const within = (x: number) => Math.min(scale.left + scale.width + 10, Math.max(scale.left - 10, x));
  const x1 = within(toX(scale, span.start));
  const width = Math.max(1, within(toX(scale, span.start + span.duration)) - x1);
  const kind = timeKind(span);
  const owner = span.kind === "attend" ? span.peer : undefined;
  return svg`
    <rect class="span ${kind}" style=${fillOf(kind)} data-span=${index} role="img" aria-label=${describe(span)}
      tabindex=${current ? 0 : -1} x=${x1} y=${y} width=${width} height=${height}
      rx=${Math.min(2, width / 4, height / 4)} />
    ${owner === undefined ? nothing : svg`
      <rect class="strip" x=${x1} y=${y + height - 5} width=${width} height="5"
        style="fill:${rankColour(owner, ranks)}" />
    `}
    ${owner !== undefined && width > 16 && height >= 16
      ? svg`<text class="inside" x=${Math.max(scale.left, x1) + 5} y=${y + 11.5}>${owner}</text>`
      : nothing}
  ` as TemplateResult;
}

/** The outline of a bar, as far as it is in view. */
export function outline(
  { span: { start, duration }, y, height }: Placed,
  scale: Scale,
  how: "active" | "lit",
): TemplateResult | typeof nothing {
  const x1 = Math.max(scale.left, toX(scale, start));
  const x2 = Math.min(scale.left + scale.width, toX(scale, start + duration));
  if (x2 < x1) return nothing;
  return svg`
    <rect class=${how} x=${x1 - 1.5} y=${y - 1.5} width=${Math.max(1, x2 - x1) + 3} height=${height + 3} rx="3" />
  ` as TemplateResult;
}
