/** A check's result: verdict, first wrong number, likely faults, the grid of ranks and hops, the row hop by hop. */
import { html, nothing, type TemplateResult } from "lit";
import type { Cell, Comparison, Place, RowHop } from "../../engine/compare.ts";
import { disc } from "../../lib/elements/disc.ts";
import { factList } from "../../lib/elements/facts.ts";
import "../../lib/elements/scroll.ts";
import { formatCount, formatError, formatShare } from "../../lib/format/format.ts";
import "../../lib/stage/mask.ts";
import type { Selection } from "../../lib/stage/selection.ts";
import type { MaskPicture } from "../../engine/run.ts";
import { MOST_RANKS, pictureOf, wrongBlocks } from "./picture.ts";
import type { Answered } from "./store.ts";
import { sayAdapter, sayApart, sayNumber, sayShare, sayStep, verdict } from "./words.ts";

/** The whole result. `stale`: settings or files have changed since. */
export function result(answered: Answered, selection: Selection, stale: boolean): TemplateResult {
  const { outcome: { found, adapter, dtype, hops }, settings } = answered;
  return html`
    ${stale ? html`<p class="stale">Files or settings have changed since this result. Check again.</p>` : nothing}
    <section aria-labelledby="verdict" class=${stale ? "old" : ""}>
      <h2 id="verdict" class="verdict ${found.ok ? "good" : "wrong"}">${verdict(
        found,
        settings.layout !== undefined,
      )}</h2>
      <p class="quiet">Bound: ${found.tolerance} (${dtype}). Computed again on ${sayAdapter(
        adapter,
      )}; the first wrong
        number is confirmed in float64.${found.reading === null
          ? ""
          : found.reading === "hop"
          ? " Each partial is of its hop alone."
          : " Each partial is of all hops so far."}</p>
      ${found.note === undefined ? nothing : html`<p class="stale">${found.note}.</p>`}
    </section>
    ${found.ok ? nothing : html`
      <div class="result ${stale ? "old" : ""}">
        <div class="first">
          ${first(found.first!, settings.layout === undefined ? 0 : settings.ranks)}
          ${faults(found)}
        </div>
        <div class="second">
          ${story(hops, settings.ranks, found)}
          ${histogram(found)}
        </div>
      </div>
    `}
    <div class="pictures ${stale ? "old" : ""}">
      ${grid(found.grid, settings.layout === undefined ? 0 : settings.ranks, selection)}
      ${picture(answered, selection)}
    </div>
  `;
}

/** `ranks`: 0 for a result without ranks. */
function first(place: Place, ranks: number): TemplateResult {
  const { rank, hop, token, sequence, position, head, of, column, found, expected, bound } = place;
  const apart = Math.abs(found - expected);
  return html`<section aria-labelledby="first">
    <h2 id="first" class="title">The first wrong number</h2>
    ${
    factList([
      ...(ranks === 0 ? [] : [
        ["Rank", disc(rank, ranks)] as const,
        ["Hop", hop === null ? "final result" : String(hop)] as const,
      ]),
      [
        "Token",
        `${formatCount(token)}${
          sequence === 0 && position === token ? "" : ` (sequence ${sequence}, position ${formatCount(position)})`
        }`,
      ],
      ...(ranks === 0 ? [] : [["Place", `${formatCount(place.place)} of its shard`] as const]),
      ["Head", String(head)],
      ["Number", of === "lse" ? "LSE" : `O[${column}]`],
      ["Found", html`<b>${sayNumber(found)}</b>`],
      ["Expected", html`<b>${sayNumber(expected)}</b>`],
      ["Bound", `± ${bound.toPrecision(2)}${Number.isFinite(apart) ? `; it is off by ${sayApart(apart)}` : ""}`],
    ])
  }
  </section>`;
}

function faults({ hypotheses }: Comparison): TemplateResult {
  return html`<section aria-labelledby="likely">
    <h2 id="likely" class="title">Likely faults</h2>
    ${
    hypotheses.length === 0
      ? html`<p class="quiet">No fault of the catalogue makes the same numbers.</p>`
      : html`<ol class="faults">${
        hypotheses.map(({ name, says, explains, error, detail }) =>
          html`
            <li>
              <p><code>${name}</code>${detail === undefined ? nothing : html`
                <small>${detail}</small>
              `}</p>
              <p>${says}</p>
              <p class="quiet">Makes the same numbers in <b>${formatShare(
                explains,
              )}</b> of the wrong rows tried, within ${formatError(error)}.</p>
              <i class="meter" style="--share:${explains}"></i>
            </li>
          `
        )
      }</ol>`
  }
  </section>`;
}

/** The first wrong row, hop by hop: LSE, and the worst element of O. */
function story(hops: readonly RowHop[], ranks: number, { first, reading }: Comparison): TemplateResult {
  const dash = html`<td class="apart">–</td>`;
  const what = reading === "so-far" ? "of all hops so far" : "of each hop alone";
  return html`
    <section aria-labelledby="hops">
      <ringside-scroll label="The first wrong row, hop by hop">
        <table class="story">
          <caption
            id="hops">The first wrong row beside the exact one <small>token ${formatCount(first!.token)}, head ${first!
              .head}; ${what}, in float64</small></caption>
          <thead>
            <tr>
              <th scope="col">Hop</th>
              <th scope="col">Keys of</th>
              <th scope="col">Keys seen</th>
              <th scope="col">Their LSE</th>
              <th scope="col">Exact LSE</th>
              <th scope="col">Worst of O</th>
              <th scope="col">Theirs</th>
              <th scope="col">Exact</th>
              <th scope="col">Verdict</th>
            </tr>
          </thead>
          <tbody>${hops.map(({ hop, keys, seen, expected, found, worst, off }) =>
            html`<tr class=${off === null ? "" : "off"}>
        <th scope="row">${hop ?? "result"}</th>
        <td>${keys === null ? "all" : disc(keys, ranks)}</td>
        <td>${formatCount(seen)}</td>
        ${found === null ? dash : html`<td>${sayNumber(found)}</td>`}
        <td>${sayNumber(expected)}</td>
        ${
              worst === null ? html`${dash}${dash}${dash}` : html`
                <td>O[${worst.column}]</td>
                <td>${sayNumber(worst.found)}</td>
                <td>${sayNumber(worst.expected)}</td>
              `
            }
        <td>${
              off !== null
                ? html`<b class="wrong">✗ ${off.of === "lse" ? "LSE" : "O"}</b>`
                : found === null && worst === null
                ? html`<span class="apart">not given</span>`
                : html`<span class="good">✓</span>`
            }</td>
      </tr>`
          )}</tbody>
        </table>
      </ringside-scroll>
    </section>
  `;
}

function histogram({ histogram: steps }: Comparison): TemplateResult {
  const most = Math.max(1, ...steps.map(({ count }) => count));
  return html`
    <table class="histogram">
      <caption>How far off <small>wrong rows and heads by the share of their bound</small></caption>
      <thead class="unseen">
        <tr>
          <th scope="col">Off by</th>
          <th scope="col">Rows and heads</th>
          <td></td>
        </tr>
      </thead>
      <tbody>${steps.map(({ upTo, count }, i) =>
        html`
          <tr>
            <th scope="row">${sayStep(upTo, steps[i - 1]?.upTo ?? 1)}</th>
            <td>${formatCount(count)}</td>
            <td class="share"><i class="meter" style="--share:${count / most}"></i></td>
          </tr>
        `
      )}</tbody>
    </table>
  `;
}

/** The share of wrong rows by rank and hop. */
function grid(cells: readonly Cell[], ranks: number, selection: Selection): TemplateResult {
  const hops = [...new Set(cells.map(({ hop }) => hop))];
  const all = [...new Set(cells.map(({ rank }) => rank))].sort((a, b) => a - b);
  const cell = (rank: number, hop: number | null) => {
    const found = cells.find((one) => one.rank === rank && one.hop === hop);
    if (found === undefined) return html`<td></td>`;
    const { wrong, rows } = found;
    const subject = { rank, ...(hop === null ? {} : { hop }) };
    return html`
      <td class="cell ${wrong > 0 ? "off" : ""} ${selection.lights(subject) ? "lit" : ""}"
        @pointerenter=${() => selection.point(subject)} @pointerleave=${() => selection.point(undefined)}>
            <b>${wrong === 0
              ? html`<span class="good" aria-hidden="true">✓</span> 0`
              : html`✗ ${sayShare(wrong, rows)}`}</b>
            <small>${formatCount(wrong)} of ${formatCount(rows)}</small>
            <i class="meter" style="--share:${rows === 0 ? 0 : wrong / rows}"></i></td>
    `;
  };
  return html`
    <section>
      <ringside-scroll label="Wrong rows and heads by rank and hop">
        <table class="grid">
          <caption>Wrong rows and heads <small>by rank${hops[0] === null ? "" : " and hop"}</small></caption>
          <thead>
            <tr><th scope="col">Rank</th>${hops.map((hop) =>
              html`<th scope="col">${hop === null ? "result" : `hop ${hop}`}</th>`
            )}</tr>
          </thead>
          <tbody>${all.map((rank) =>
            html`<tr><th scope="row">${ranks === 0 ? "all" : disc(rank, ranks)}</th>${
              hops.map((hop) => cell(rank, hop))
            }</tr>`
          )}</tbody>
        </table>
      </ringside-scroll>
    </section>
  `;
}

/** A result's picture, kept: for a new one, the mask's element would forget the block under the pointer. */
const pictures = new WeakMap<Answered, MaskPicture | undefined>();

/** The mask in blocks, the wrong ones crossed. */
function picture(answered: Answered, selection: Selection): TemplateResult {
  const { outcome: { found, sizes }, settings } = answered;
  if (settings.layout === undefined) return html``;
  const sequence = found.first?.sequence ?? 0;
  if (!pictures.has(answered)) pictures.set(answered, pictureOf(settings, sizes, sequence));
  const mask = pictures.get(answered);
  if (mask === undefined) {
    return html`<p class="quiet aside">The mask’s picture needs shards of two chunks, as ringside and contiguous deal
      them, and at most ${MOST_RANKS} ranks.</p>`;
  }
  return html`
    <section aria-labelledby="mask">
      <h2 id="mask">The mask in blocks <small>${sizes.sequences.length === 1
        ? "who computes what at which hop"
        : `of sequence ${sequence}`}</small></h2>
      <ringside-mask .mask=${mask} .sees=${settings.mask} .flops=${2 * (sizes.headDim + sizes.valueDim) *
        sizes.heads} .name=${"Mask"} .selection=${selection}
        .wrong=${wrongBlocks(mask, found.grid)}></ringside-mask>
    </section>
  `;
}
