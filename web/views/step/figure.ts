/**
 * A token's convergence as a figure with one row per hop: the share of the softmax seen so far, one element of O, and
 * O's distance from its final value.
 */
import { html, svg, type SVGTemplateResult, type TemplateResult } from "lit";
import { formatError, formatShare } from "../../lib/format/format.ts";
import { rankColour } from "../../lib/format/palette.ts";
import type { MergeStory } from "./model.ts";

const ROW = 28;
const TOP = 28;
const BOTTOM = 24;
const WIDTH = 232;
const LEFT = 40;
const RIGHT = 8;

/** Room for the percentage beside a bar. */
const VALUE = 42;

/** The three panels, with the same rows. */
export function mergeFigure({ hops, exact }: MergeStory, ranks: number, dim: number): TemplateResult {
  const height = TOP + hops.length * ROW + BOTTOM;
  const y = (hop: number) => TOP + hop * ROW + ROW / 2;
  const panel = (title: string, label: string, content: SVGTemplateResult) =>
    html`<svg class="panel" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label=${label}>
    <text class="head" x="0" y="14">${title}</text>
    ${
      hops.map(({ hop, soFar }) =>
        svg`
          <text class="row ${soFar === undefined ? "later" : ""}" x="0" y=${y(hop) + 4}>hop ${hop}</text>
          <line class="guide" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${y(hop)} y2=${y(hop)} />
        `
      )
    }
    ${content}
  </svg>`;
  const inner = WIDTH - LEFT - RIGHT;
  const known = hops.filter((hop) => hop.soFar !== undefined);

  let seen = 0;
  const shares = known.flatMap(({ weight }) => (weight === undefined ? [] : [seen += weight]));
  const bars = hops.map(({ hop }) => {
    if (shares[hop] === undefined) return svg``;
    let at = LEFT;
    const parts = hops.slice(0, hop + 1).map(({ weight, owner, hop: of }) => {
      const width = Math.max(0, weight!) * (inner - VALUE);
      at += width;
      return svg`<rect class=${of === hop ? "new" : "old"} x=${at - width} y=${
        y(hop) - 8
      } width=${width} height="16" fill=${rankColour(owner, ranks)} />`;
    });
    return svg`
      ${parts}<rect class="frame" x=${LEFT} y=${y(hop) - 8} width=${inner - VALUE} height="16" /><text class="value"
        x=${WIDTH - RIGHT} y=${y(hop) + 4}>${formatShare(Math.round(1000 * Math.min(1, shares[hop])) / 1000)}</text>
    `;
  });

  const values = [...known.map(({ soFar }) => soFar!.out[dim]), ...(exact === undefined ? [] : [exact.out[dim]])];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(most - least, 1e-6) * 0.12;
  const x = (value: number) => LEFT + 8 + ((value - least + room) / (most - least + 2 * room)) * (inner - 16);
  const dots = known.map(({ hop, owner, soFar }) =>
    svg`<circle class="dot" cx=${x(soFar!.out[dim])} cy=${y(hop)} r="5" fill=${rankColour(owner, ranks)} />`
  );
  const end = exact === undefined ? svg`` : svg`
    <line class="end" x1=${x(exact.out[dim])} x2=${x(exact.out[dim])} y1=${TOP} y2=${height - BOTTOM} />
    <text class="tick" x=${Math.min(WIDTH - 28, Math.max(LEFT + 16, x(exact.out[dim])))} y=${height - 6}>float64</text>
  `;
  const trail = svg`<polyline class="trail" points=${
    known.map(({ hop, soFar }) => `${x(soFar!.out[dim])},${y(hop)}`).join(" ")
  } />`;

  const away = (value: number) => Math.max(-8, Math.min(1, Math.log10(Math.max(value, 1e-9))));
  const far = (value: number) => LEFT + 8 + ((away(value) + 8) / 9) * (inner - 16);
  const ticks = [-8, -6, -4, -2, 0].map((power) =>
    svg`
      <line class="grid" x1=${far(10 ** power)} x2=${far(10 ** power)} y1=${TOP} y2=${height - BOTTOM} />
      <text class="tick" x=${far(10 ** power)} y=${height - 6}>${power === 0 ? "1" : `1e${power}`}</text>
    `
  );
  const marks = known.flatMap(({ hop, owner, away: d }) => (d === undefined ? [] : [svg`
    <line class="stem" x1=${far(0)} x2=${far(d)} y1=${y(hop)} y2=${y(hop)} />
    <circle class="dot" cx=${far(d)} cy=${y(hop)} r="5" fill=${rankColour(owner, ranks)} />
  `]));

  const last = known.at(-1);
  return html`<div class="panels">
    ${
    panel(
      "Softmax seen so far",
      shares.length === 0
        ? "Softmax seen so far: nothing yet"
        : `Softmax seen so far: ${
          shares.map((share, hop) => `${formatShare(Math.round(1000 * Math.min(1, share)) / 1000)} after hop ${hop}`)
            .join(", ")
        }`,
      svg`${bars}`,
    )
  }
    ${
    panel(
      `O[${dim}] so far`,
      last === undefined
        ? "O so far: nothing yet"
        : `O[${dim}] moves from ${known[0].soFar!.out[dim].toPrecision(4)} after hop 0 to ${
          last.soFar!.out[dim].toPrecision(4)
        } after hop ${last.hop}${exact === undefined ? "" : `; float64 ends at ${exact.out[dim].toPrecision(4)}`}`,
      svg`${end}${trail}${dots}`,
    )
  }
    ${
    panel(
      "Distance to the end, ‖O − O₆₄‖",
      last?.away === undefined
        ? "Distance to the end: not known yet"
        : `Distance of O so far to float64's final O: ${
          known.map(({ away: d, hop }) => `${formatError(d!)} after hop ${hop}`).join(", ")
        }`,
      svg`${ticks}${marks}`,
    )
  }
  </div>`;
}
