/** One rank at one halt: what it holds, has sent and waits for, and its partial result. */
import { html, nothing, type TemplateResult } from "lit";
import { disc } from "../../lib/elements/disc.ts";
import type { Halt, Held, Made, Message } from "../../engine/run.ts";
import { formatCount } from "../../lib/format/format.ts";
import { headOf, sayF32, sayRuns, standing, waitsFor, type Walk } from "./model.ts";
import type { Stepper } from "./stepper.ts";

/** Rows of an excerpt. */
const ROWS = 5;
/** Dimensions of an excerpt. */
export const DIMS = 3;

/** The inspector of the selected rank and halt. */
export function rankInspector(stepper: Stepper, walk: Walk, live: boolean): TemplateResult {
  const { rank, point } = stepper.selection;
  const { N } = walk.experiment;
  const halt = walk.log[rank][point];
  const name = walk.points[point].name;
  return html`<section class="rank" aria-labelledby="rank">
    <h2 id="rank" class="title">${disc(rank, N)} Rank ${rank}, ${name} <small>${
    position(walk, rank, point, live)
  }</small></h2>
    ${
    halt === undefined
      ? html`<p class="quiet">${
        live ? "It has not come here yet. Let it continue, or run to here." : "It never came here."
      }</p>`
      : html`<dl class="facts">
        ${
        halt.queries === undefined ? nothing : html`
          <div>
            <dt>Queries</dt>
            <dd>${ofRank(halt.queries, rank, N)}</dd>
          </div>
        `
      }
        ${
        halt.keys === undefined ? nothing : html`
          <div>
            <dt>Keys, values</dt>
            <dd>${ofRank(halt.keys, rank, N)}</dd>
          </div>
        `
      }
        <div><dt>Has sent</dt><dd>${messages(halt.mail.sent, N, "to")}</dd></div>
        <div><dt>Has received</dt><dd>${messages(halt.mail.received, N, "from")}</dd></div>
        <div><dt>Awaits</dt><dd>${awaits(walk, rank, halt)}</dd></div>
      </dl>
      ${
        halt.made === undefined
          ? html`<p class="quiet">It has no partial result before its first attention.</p>`
          : excerpt(stepper, walk, rank, halt.made)
      }`
  }
  </section>`;
}

function position(walk: Walk, rank: number, point: number, live: boolean): string {
  const reached = walk.log[rank].length - 1;
  const { next } = walk.points[point];
  if (point > reached) return "ahead";
  if (next === "end") return "has its result";
  const before = next === "attend"
    ? "before its attention"
    : next === "merge"
    ? "before it merges"
    : "before its parcels leave";
  if (point < reached) return `as it halted ${before}`;
  if (!live) return `was here, ${before}, when the run ended`;
  if (standing(walk, rank) === "halted") return `halted ${before}`;
  const wait = waitsFor(walk, rank);
  return wait === undefined ? "under way" : `under way, waits for rank ${wait}`;
}

function ofRank({ owner, runs }: Held, rank: number, N: number): TemplateResult {
  const tokens = runs.reduce((sum, { length }) => sum + length, 0);
  return html`${owner === rank ? "its own" : html`of rank ${disc(owner, N)}`}: ${
    formatCount(tokens)
  } tokens, positions ${sayRuns(runs)}`;
}

function messages(
  all: readonly (Message & { readonly delivered?: boolean })[],
  N: number,
  way: "to" | "from",
): TemplateResult {
  if (all.length === 0) return html`nothing`;
  return html`<ul class="mail">${
    all.map(({ kind, hop, peer, owner, bytes, delivered }) =>
      html`<li>${kind === "ring" ? html`hop ${hop}: chunk of ${disc(owner, N)}` : "parcel"} ${way} ${disc(peer, N)}, ${
        formatCount(bytes)
      } B${delivered === false ? html`, <b>on its link</b>` : nothing}</li>`
    )
  }</ul>`;
}

function awaits({ experiment: { N } }: Walk, rank: number, { mail: { awaiting } }: Halt): TemplateResult {
  if (awaiting.length === 0) return html`nothing`;
  return html`<ul class="mail">${
    awaiting.map(({ kind, hop, peer }) =>
      html`<li>${kind === "ring" ? html`hop ${hop}: chunk of ${disc((rank - hop - 1 + N) % N, N)}` : "a parcel"} from ${
        disc(peer, N)
      }</li>`
    )
  }</ul>`;
}

/** A few rows of the rank's last partial, around the selected token if it is among them. */
function excerpt(stepper: Stepper, walk: Walk, rank: number, made: Made): TemplateResult {
  const { token, head, dim } = stepper.selection;
  const { experiment } = walk;
  const passQ = experiment.variant === "pass-q";
  const place = made.rows.indexOf(token);
  const first = Math.max(0, Math.min((place < 0 ? 0 : place) - 2, made.rows.length - ROWS));
  const dims = Array.from({ length: DIMS }, (_, i) => dim + i);
  const what = made.kind === "merge"
    ? "merged over all keys"
    : passQ
    ? `over the keys of rank ${made.keys!.owner}${
      made.queries.owner === rank ? "" : `, for rank ${made.queries.owner}`
    }`
    : made.hop === 0
    ? "over its own keys"
    : `over the keys of hops 0 to ${made.hop}`;
  if (made.rows.length === 0) {
    return html`<p class="quiet">${
      walk.watch === undefined
        ? `No query of rank ${made.queries.owner} came here, because none sees a key of this rank or of a later one.`
        : `Its partial result does not include the row of token ${formatCount(token)}.`
    }</p>`;
  }
  return html`
    <ringside-scroll label="Partial result">
      <table class="excerpt">
        <caption>Partial result after ${made.kind === "merge"
          ? "the merge"
          : `hop ${made.hop}`} <small>${what}; head ${head}, f32 to the last bit</small></caption>
        <thead>
          <tr><th scope="col">Token</th><th scope="col">LSE</th>${dims.map((d) =>
            html`<th scope="col">O[${d}]</th>`
          )}</tr>
        </thead>
        <tbody>${made.rows.slice(first, first + ROWS).map((row, i) => {
          const { out, lse } = headOf(made, first + i, head, experiment);
          return html`
            <tr
              class=${row === token ? "chosen" : ""}><th scope="row"><button class="link" @click=${() =>
                stepper.select({ token: row })} aria-label="Look at token ${row}">${formatCount(
                  row,
                )}</button></th><td>${sayF32(lse)}</td>${dims.map((d) => html`<td>${sayF32(out[d])}</td>`)}</tr>
          `;
        })}</tbody>
      </table>
    </ringside-scroll>
    <p class="quiet">${walk.watch === undefined
      ? `${formatCount(Math.min(ROWS, made.rows.length))} of its ${formatCount(made.rows.length)} rows.`
      : "Only the selected token’s row travels to the page (see above)."}</p>
  `;
}
