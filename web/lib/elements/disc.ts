/** A rank's mark: its number on its colour. */
import { html, type TemplateResult } from "lit";
import { onRankColour, rankColour } from "../format/palette.ts";

/** The mark of a rank among `ranks`. */
export function disc(rank: number, ranks: number): TemplateResult {
  return html`<span class="disc" style="background:${rankColour(rank, ranks)};color:${
    onRankColour(rank, ranks)
  }">${rank}</span>`;
}
