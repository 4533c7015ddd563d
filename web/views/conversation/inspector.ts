/** The selected step: its T, P and variant with the reason, the KV cache of each rank after it, messages and times. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { disc } from "../../lib/elements/disc.ts";
import { formatBytes, formatCount, formatShare, formatTime } from "../../lib/format/format.ts";
import { rankColour } from "../../lib/format/palette.ts";
import { rankTable, timeTable } from "../../lib/experiment/result.ts";
import type { Conversation } from "../../lib/address/conversation.ts";
import { saySkipped } from "../../lib/stage/traffic.ts";
import { letter } from "./model.ts";
import { type ConversationStore, turnName } from "./store.ts";
import type { Done } from "./talk.ts";

/** The whole inspector. */
export function inspector(store: ConversationStore, conversation: Conversation): TemplateResult | typeof nothing {
  const done = store.selected;
  if (done === undefined) return nothing;
  const { report, step } = done;
  const { selectedIndex: index } = store;
  const { length } = store.talk.steps;
  const fresh = report.batch.reduce((sum, b) => sum + b.new, 0);
  const cached = report.batch.reduce((sum, b) => sum + b.cached, 0);
  const skipped = saySkipped(report);
  const several = conversation.sequences > 1;
  const of = (
    what: "new" | "cached",
  ) => (several
    ? html`<small>${report.batch.map((b) => `${letter(b.sequence)} ${formatCount(b[what])}`).join(", ")}</small>`
    : nothing);
  return html`
    <section aria-labelledby="step">
      <header class="bar-top">
        <h2 id="step" class="title">${turnName(step.turn)}, ${stepName(store, done)}</h2>
        <span class="walk" role="group" aria-label="Steps">
          <button class="button square" aria-label="Previous step" title="Previous step" ?disabled=${index <= 0}
            @click=${() => store.select(index - 1)}>‹</button>
          <span class="quiet">step ${formatCount(index + 1)} of ${formatCount(length)}</span>
          <button class="button square" aria-label="Next step" title="Next step" ?disabled=${index >= length - 1}
            @click=${() => store.select(index + 1)}>›</button>
        </span>
      </header>
      <dl class="figures">
        <div>
          <dt>New T</dt>
          <dd>${formatCount(fresh)} ${of("new")}</dd>
        </div>
        <div>
          <dt>Cached P</dt>
          <dd>${formatCount(cached)} ${of("cached")}</dd>
        </div>
        <div>
          <dt>Miss rate</dt>
          <dd>${formatShare(report.missRate)}</dd>
        </div>
        <div>
          <dt>Variant</dt>
          <dd>${sayVariant(report.variant)}</dd>
        </div>
        <div>
          <dt>Time</dt>
          <dd>${formatTime(report.times.total)} ${report.times.compile > 0
            ? html`<small>${formatTime(report.times.compile)} of it to compile</small>`
            : nothing}</dd>
        </div>
      </dl>
      <p class="why"><b>Why ${sayVariant(report.variant)}:</b> ${why(done)}</p>
      ${skipped === undefined ? nothing : html`<p class="quiet">Skipped: ${skipped}.</p>`}
    </section>
      ${caches(store, done, conversation)}
      ${rankTable(report)}
      ${timeTable(report, 0)}
  `;
}

/** "prefill" or "decode step 2". */
export function stepName(store: ConversationStore, done: Done): string {
  if (done.step.mode === "prefill") return "prefill";
  return `decode step ${
    store.talk.steps.filter((other) => other.step.turn === done.step.turn && other.step.mode === "decode").indexOf(
      done,
    ) + 1
  }`;
}

/** The reason for the variant: the engine's own, if a rule chose. */
export function why({ report, step }: Done): string {
  if (report.choice !== undefined) return `${report.choice.reason}.`;
  return step.mode === "decode"
    ? "decode always sends the queries around the ring (Algorithm 4). One query per sequence travels, and the cache stays."
    : "the sentence says so.";
}

/** Tokens on each rank, as bars within the capacity of its cache. */
function caches(store: ConversationStore, { report, capacity }: Done, { sequences }: Conversation): TemplateResult {
  const { steps } = store.talk;
  const before = steps[store.selectedIndex - 1]?.report.tokens ?? [];
  const on = (tokens: typeof before, sequence: number, rank: number) =>
    tokens.find((t) => t.sequence === sequence)?.perRank[rank] ?? 0;
  const ranks = Array.from({ length: report.ranks }, (_, rank) => rank);
  const known = Array.from({ length: sequences }, (_, s) => s);
  const spread = report.tokens.map(({ sequence, perRank }) => ({
    sequence,
    least: Math.min(...perRank),
    most: Math.max(...perRank),
  }));
  const said = spread.map(({ sequence, least, most }) =>
    `${sequences > 1 ? `${letter(sequence)}: ` : ""}${
      least === most ? `${formatCount(least)} on every rank` : `${formatCount(least)} or ${formatCount(most)} per rank`
    }`
  );
  const even = spread.every(({ least, most }) => most - least <= 1);
  return html`
    <ringside-scroll label="KV cache">
      <table class="caches">
        <caption>KV cache after this step <small>tokens; ${said.join("; ")}: ${even
          ? "they differ by at most 1"
          : "they differ by more than 1"}</small></caption>
        <thead>
          <tr><th scope="col">Rank</th><td class="room"></td>${known.map((s) =>
            html`<th scope="col">${sequences > 1 ? letter(s) : "Tokens"}</th>`
          )}<th scope="col">New</th><th scope="col">Pages</th></tr>
        </thead>
        <tbody>${ranks.map((rank) => {
          const own = known.map((s) => on(report.tokens, s, rank));
          const grown = known.reduce((sum, s) => sum + on(report.tokens, s, rank) - on(before, s, rank), 0);
          const share = (tokens: number) => `${(100 * tokens) / capacity.tokensPerRank}%`;
          return html`<tr><th scope="row">${disc(rank, report.ranks)}</th>
        <td class="room" aria-hidden="true"><div>${
            own.map((tokens, s) =>
              html`<i class=${s === 1 ? "second" : ""} style="width:${share(tokens)};--of:${
                rankColour(rank, report.ranks)
              }"></i>`
            )
          }</div></td>
        ${own.map((tokens) => html`<td>${formatCount(tokens)}</td>`)}<td>${
            grown > 0 ? `+${formatCount(grown)}` : "–"
          }</td><td>${capacity.pagesUsed[rank]} of ${capacity.pages}</td></tr>`;
        })}</tbody>
        <tfoot>
          <tr>
            <td
              colspan=${sequences + 4}>Each rank holds at most ${formatCount(
                capacity.tokensPerRank,
              )} tokens in ${formatCount(capacity.pages)} pages of ${capacity.pageTokens}, ${formatBytes(
                cacheBytes(report, capacity.tokensPerRank),
              )} of keys and values in ${report.wireDtype}${sequences > 1 ? "; A solid, B hatched" : ""}.</td>
          </tr>
        </tfoot>
      </table>
    </ringside-scroll>
  `;
}

function cacheBytes({ shape, wireDtype }: Done["report"], tokens: number): number {
  return 2 * tokens * shape.kvHeads * shape.headDim * (wireDtype === "f32" ? 4 : 2);
}
