/** Layouts: two of them side by side over one batch, each rank's work, and what moves from one to the other. */
import { html, LitElement, nothing, svg, type TemplateResult } from "lit";
import type { Transfer } from "../../../engine/compare.ts";
import { disc } from "../../../lib/elements/disc.ts";
import { follow } from "../../../lib/elements/follow.ts";
import { frameStyle } from "../../../lib/elements/frame-style.ts";
import "../../../lib/elements/scroll.ts";
import { scrolls } from "../../../lib/elements/scrolls.ts";
import { editables, type Sentence } from "../../../lib/elements/sentence.ts";
import { shared } from "../../../lib/elements/style.ts";
import { viewStyle } from "../../../lib/elements/view-style.ts";
import { formatCount, formatShare } from "../../../lib/format/format.ts";
import { saySeen } from "../../../lib/format/mask.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { commandLine } from "../command-line.ts";
import { layoutNames } from "../state.ts";
import { checkStyle } from "../style.ts";
import { type Answer, answer, type Dealt, layoutCommand, movedOf, type Side } from "./model.ts";
import { type Draft, type Field, fromQuery, names, type Question, read, toQuery } from "./state.ts";
import { layoutsStyle } from "./style.ts";

/** A question and its answer. */
interface Asked {
  readonly key: string;
  readonly question: Question;
  readonly answer: Answer;
}

/** `<ringside-layouts>`: the view puts its parts into the slot at the top. */
export class RingsideLayouts extends LitElement {
  static override properties = { _draft: { state: true } };

  declare _draft: Draft;
  /** The last question that could be read, and its answer. */
  #asked: Asked | undefined;

  constructor() {
    super();
    this._draft = fromQuery(location.search);
    follow(this, () => window, ["popstate"], () => {
      if (location.hash === "#check") this._draft = fromQuery(location.search);
    });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this._draft = fromQuery(location.search);
  }

  #edit(field: Field, text: string): void {
    this._draft = { ...this._draft, [field]: text.trim() };
    if (read(this._draft).question === undefined) return;
    history.replaceState(null, "", `?${toQuery(this._draft, location.search)}${location.hash}`);
  }

  /** The answer to the sentence, or to the last that could be read. */
  #answered(): Asked | undefined {
    const { question } = read(this._draft);
    const key = JSON.stringify(question);
    if (question !== undefined && this.#asked?.key !== key) {
      this.#asked = { key, question, answer: answer(question) };
    }
    return this.#asked;
  }

  protected override render(): TemplateResult {
    const asked = this.#answered();
    const old = read(this._draft).question === undefined;
    return html`
      <div class="top"><slot name="parts"></slot><ringside-sentence wraps .sentence=${this
        .#sentence()}></ringside-sentence></div>
      <div class="stage ${old ? "old" : ""}" ${scrolls("Layouts")}>${asked === undefined
        ? html`<p class="quiet">Correct the marked part of the sentence.</p>`
        : html`
          ${old ? html`<p class="stale">This answers the last sentence that could be read.</p>` : nothing}
          <div class="sides">${([["left", asked.question.left], ["right", asked.question.right]] as const).map((
            [side, { layout }],
          ) => this.#side(asked.answer[side], layout, asked))}</div>
          ${transferMap(asked.question, asked.answer)}
          ${commandLine(layoutCommand(asked.question))}
        `}</div>
    `;
  }

  #side(dealt: Dealt, name: string, { question, answer: { bins, tokens } }: Asked) {
    if ("refused" in dealt) {
      return html`
        <section class="bad" aria-label=${name}>
          <h2 class="title">${name}</h2>
          <p class="message">${dealt
            .refused}</p>
        </section>
      `;
    }
    const { layout, ranks, imbalance } = dealt;
    return html`<section aria-label=${`${name} over ${ranks} ranks`}>
      <h2 class="title">${name} <small>${ranks} ${ranks === 1 ? "rank" : "ranks"}</small></h2>
      <p>${layout.what}.</p>
      <p class="quiet">Padding: ${layout.padding}. Source: ${
      /^https:\S+/.test(layout.source)
        ? html`<a href=${/^\S+/.exec(layout.source)![0]} rel="noopener" target="_blank">${
          layout.source.replace(/^https:\/\//, "")
        }</a>`
        : layout.source
    }.</p>
      ${picture(dealt, bins, tokens, question)}
      ${work(dealt)}
      <p>The busiest rank has <b>${imbalance.toFixed(3)} ×</b> the mean work.</p>
    </section>`;
  }

  #sentence(): Sentence<Field> {
    const { text, choice } = editables(names, this._draft);
    const layouts = Object.fromEntries(layoutNames().map((name) => [name, name]));
    const { question, problems } = read(this._draft);
    return {
      name: "Layouts",
      phrases: [
        [choice("left", layouts), " over ", text("leftRanks"), " ranks"],
        ["beside ", choice("right", layouts), " over ", text("rightRanks"), " ranks,"],
        ["sequences of ", text("tokens", { keyboard: "text" }), " tokens,"],
        [
          "mask ",
          text("mask", { keyboard: "text", suggestions: ["causal", "full", "window:256", "chunk:256"] }),
          ".",
        ],
      ],
      below: html`<p class="quiet">${question === undefined ? "" : `${saySeen(question.mask)}.`}</p>`,
      actions: html``,
      running: false,
      problems: () => problems,
      type: (field, value) => (this._draft = { ...this._draft, [field]: value }),
      edit: (field, value) => this.#edit(field, value),
      run: () => {},
    };
  }

  static override styles = [shared, viewStyle, frameStyle, checkStyle, layoutsStyle];
}

const [WIDTH, LANE, GAP, LEFT] = [560, 18, 3, 24];

/** The least opacity: of a bin in which a rank holds few of the tokens. */
const FAINT = 0.3;

/** A lane for each rank: where its tokens lie along the batch. */
function picture({ bands, ranks }: Side, bins: number, tokens: number, { sequences }: Question): TemplateResult {
  const height = ranks * (LANE + GAP);
  const x = (bin: number) => LEFT + (bin / bins) * (WIDTH - LEFT);
  const starts = sequences.slice(0, -1).reduce<number[]>((all, length) => [...all, (all.at(-1) ?? 0) + length], []);
  const perBin = tokens / bins;
  return html`<svg class="lanes" viewBox="0 0 ${WIDTH} ${height + 18}" role="img" aria-label=${`Tokens 0 to ${
    formatCount(tokens - 1)
  } along each of ${ranks} ranks. The table below has the figures.`}>
    ${
    bands.map((own, rank) => {
      const y = rank * (LANE + GAP);
      return svg`
        <rect class="ground" x=${LEFT} y=${y} width=${WIDTH - LEFT} height=${LANE} />
        ${own.map(({ from, to, share }) =>
          svg`
            <rect x=${x(from)} y=${y} width=${x(to) - x(from)} height=${LANE}
              style="fill:${rankColour(rank, ranks)};fill-opacity:${(FAINT + (1 - FAINT) * share).toFixed(3)}" />
          `
        )}
        <rect x="0" y=${y + 1} width="18" height="16" rx="4" style="fill:${rankColour(rank, ranks)}" />
        <text class="number" x="9" y=${y + 13} style="fill:${onRankColour(rank, ranks)}">${rank}</text>
      `;
    })
  }
    ${starts.map((start) => svg`<path class="cut" d="M${x(start / perBin)} 0V${height}" />`)}
    <text class="tick" x=${LEFT} y=${height + 12}>0</text>
    <text class="tick end" x=${WIDTH} y=${height + 12}>token ${formatCount(tokens - 1)}</text>
  </svg>`;
}

function work({ perRank, ranks }: Side): TemplateResult {
  const most = Math.max(1, ...perRank.map(({ pairs }) => pairs));
  return html`
    <ringside-scroll label="Work of each rank">
      <table class="work">
        <caption>Each rank</caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">Tokens</th>
            <th scope="col">Padding</th>
            <th scope="col">Runs</th>
            <th scope="col">Query-key pairs</th>
            <th scope="col" class="share">of the busiest</th>
          </tr>
        </thead>
        <tbody>${perRank.map(({ rank, tokens, padding, runs, pairs }) =>
          html`
            <tr>
              <th scope="row">${disc(rank, ranks)}</th>
              <td>${formatCount(tokens)}</td>
              <td>${formatCount(padding)}</td>
              <td>${formatCount(runs.length)}</td>
              <td>${formatCount(pairs)}</td>
              <td class="share">${formatShare(pairs / most)}<i class="meter" style="--share:${pairs / most}"></i></td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Tokens from each rank of the first layout to each of the second. */
function transferMap({ left, right }: Question, { transfers }: Answer): TemplateResult | typeof nothing {
  if (transfers === undefined) return nothing;
  const { moved, all, runs } = movedOf(transfers);
  const most = Math.max(1, ...transfers.map(({ tokens }) => tokens));
  const at = (from: number, to: number): Transfer | undefined =>
    transfers.find((one) => one.from === from && one.to === to);
  const ranks = (count: number) => Array.from({ length: count }, (_, k) => k);
  return html`
    <section aria-labelledby="transfers">
      <h2 id="transfers" class="title">What moves</h2>
      <p><b>${formatCount(moved)}</b> of ${formatCount(all)} tokens move to another rank, in <b>${formatCount(
        runs,
      )}</b> contiguous runs, from ${left.layout} to ${right.layout}.</p>
      <ringside-scroll label="Transfers">
        <table class="grid transfers">
          <caption>Tokens from rank to rank <small>and the contiguous runs that they make</small></caption>
          <thead>
            <tr><th scope="col">From</th>${ranks(right.ranks).map((to) =>
              html`<th scope="col">to ${disc(to, right.ranks)}</th>`
            )}</tr>
          </thead>
          <tbody>${ranks(left.ranks).map((from) =>
            html`<tr><th scope="row">${disc(from, left.ranks)}</th>${
              ranks(right.ranks).map((to) => {
                const found = at(from, to);
                if (found === undefined) return html`<td class="cell"><span class="apart">–</span></td>`;
                const { tokens, runs: own } = found;
                return html`<td class="cell"><b>${formatCount(tokens)}</b><small>${
                  from === to ? "stay" : own.length === 1 ? "1 run" : `${formatCount(own.length)} runs`
                }</small><i class="meter" style="--share:${tokens / most}"></i></td>`;
              })
            }</tr>`
          )}</tbody>
        </table>
      </ringside-scroll>
    </section>
  `;
}

customElements.define("ringside-layouts", RingsideLayouts);
