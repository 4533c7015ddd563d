/** The timeline as a table: its text equivalent. */
import { html, type TemplateResult } from "lit";
import { disc } from "../elements/disc.ts";
import "../elements/scroll.ts";
import type { Span } from "../../engine/run.ts";
import { formatTime } from "../format/format.ts";
import { lanes } from "../format/palette.ts";
import { sayAmount, sayKind, sayPeer } from "./words.ts";

/** One row per span, in the given order. Tables on one page have different labels. */
export function spanTable(spans: readonly Span[], ranks: number, label = "Spans"): TemplateResult {
  return html`
    <ringside-scroll label=${label}>
      <table>
        <caption class="unseen">${label}</caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">Lane</th>
            <th scope="col">Hop</th>
            <th scope="col">Kind</th>
            <th scope="col">Peer</th>
            <th scope="col">Start</th>
            <th scope="col">Duration</th>
            <th scope="col">Amount</th>
          </tr>
        </thead>
        <tbody>
            ${spans.map((span) =>
              html`
                <tr>
                  <td>${disc(span.rank, ranks)}</td>
                  <td>${lanes[span.lane]}</td>
                  <td>${span.hop}</td>
                  <td>${sayKind(span)}</td>
                  <td>${sayPeer(span)}</td>
                  <td>${formatTime(span.start)}</td>
                  <td>${formatTime(span.duration)}</td>
                  <td>${sayAmount(span)}</td>
                </tr>
              `
            )}
          </tbody>
      </table>
    </ringside-scroll>
  `;
}
