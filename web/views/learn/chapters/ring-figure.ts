/** The ring at one hop: ranks in a circle, each with the KV or the queries that visit it. */
import { html, svg, type TemplateResult } from "lit";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { heads } from "../cells.ts";
import type { Meeting } from "../models/ring.ts";

const R = 112;

/** `what` is the visitor's letters: "KV" or "Q". */
export function ringFigure(meetings: readonly Meeting[], ranks: number, hop: number, what: string): TemplateResult {
  const at = (rank: number, r = R) => {
    const angle = (2 * Math.PI * rank) / ranks - Math.PI / 2;
    return [150 + r * Math.cos(angle), 150 + r * Math.sin(angle)] as const;
  };
  const now = meetings.filter((m) => m.hop === hop);
  const words = now.map(({ rank, owner }) => `rank ${rank} has ${what} of rank ${owner}`).join(", ");
  return html`<svg class="ring" viewBox="0 0 300 300" role="img" aria-label="The ring at hop ${hop}: ${words}.">
    ${
    now.map(({ rank }) => {
      const middle = (2 * Math.PI * (rank + 0.5)) / ranks - Math.PI / 2;
      const [x, y] = [150 + R * Math.cos(middle), 150 + R * Math.sin(middle)];
      const [[x0, y0], [x1, y1]] = [at(rank), at(rank + 1)];
      return svg`
        <path class="arc" d="M${x0} ${y0}A${R} ${R} 0 0 1 ${x1} ${y1}"></path>
        <path class="head" transform="translate(${x} ${y}) rotate(${(middle * 180) / Math.PI +
          90})" d="M-5 -5L6 0L-5 5Z"></path>
      `;
    })
  }
    ${
    now.map(({ rank, owner }) => {
      const [[x, y], [lx, ly]] = [at(rank), at(rank, 58)];
      return svg`
        <g data-v="owner.${owner}">
          <circle class="seat" cx=${x} cy=${y} r="25"></circle>
          <circle cx=${x} cy=${y} r="20" fill=${rankColour(owner, ranks)}></circle>
          <text x=${x} y=${y} fill=${onRankColour(owner, ranks)}>${what}${owner}</text>
        </g>
        <text class="label" x=${lx} y=${ly}>rank ${rank}</text>
      `;
    })
  }
    <text class="label" x="150" y="150">hop ${hop}</text>
  </svg>`;
}

/** Whose KV or queries each rank has at each hop. */
export function schedule(meetings: readonly Meeting[], ranks: number, hop: number, what: string): TemplateResult {
  const hops = Array.from({ length: ranks }, (_, j) => j);
  return html`
    <table>
      <caption>${what} at each rank <small>the number is the rank that had it first</small></caption>
      ${heads("Hop", ...hops.map((k) => `rank ${k}`))}
      <tbody>${hops.map((j) =>
        html`<tr class=${j === hop ? "now" : ""}><th scope="row">${j}</th>${
          meetings.filter((m) => m.hop === j).map(({ owner }) =>
            html`<td><span class="disc" data-v="owner.${owner}" style="background:${rankColour(owner, ranks)};color:${
              onRankColour(owner, ranks)
            }">${owner}</span></td>`
          )
        }</tr>`
      )}</tbody>
    </table>
  `;
}
