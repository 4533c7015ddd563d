/** Chapter 3: merging partial results. */
import { html, type TemplateResult } from "lit";
import { formatCount, formatError, formatShare } from "../../../lib/format/format.ts";
import { disc } from "../../../lib/elements/disc.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { heads, value } from "../cells.ts";
import { type Chapter, choice, range, slider, v } from "../chapter.ts";
import { COUNTS, LONG, type Merging, merging, type Part, ROWS, type Stored, TOKENS } from "../models/merge.ts";
import { D } from "../models/small.ts";
import { inLab } from "../onward.ts";
import { plural, say, times } from "../say.ts";
import "../../../lib/elements/scroll.ts";

const controls = {
  parts: slider("Parts of the keys", [2, 3, 4, 6, 8], 4),
  row: slider("Query row", range(0, TOKENS - 1), 21),
  order: choice("Order of merging", { first: "first part first", last: "last part first" }, "last"),
  seed: slider("Seed", range(1, 20), 4),
};

/** One row's parts, and what 16 bits cost. */
export interface MergePage {
  readonly row: Merging;
  readonly stored: readonly Stored[];
}

/** Equation 4. */
export const merge: Chapter<typeof controls, MergePage> = {
  id: "merge",
  title: "Merging partial results",
  controls,
  model: async ({ seed, parts, row, order }, slow) => ({
    row: await merging(seed, parts, row, order === "last"),
    stored: await slow.storing(1),
  }),
  render({ model, state, controls: draw }) {
    const { parts, out, exact, unguarded, spacing } = model.row;
    const heaviest = parts.reduce((best, part, i) => (part.weight > parts[best].weight ? i : best), 0);
    const empty = parts.filter(({ seen }) => seen === 0).length;
    const [f32, o16, , , lse16] = model.stored;
    const most = COUNTS.length - 1;
    const wrong = html`<b class="v wrong" data-v="unguarded">${say(unguarded)}</b>`;
    return html`
      <p class="lead">
        Two machines that hold different keys can each attend to their own keys and join the results afterwards. To join
        them, they need one number per row besides the output.
      </p>
      <p>
        Let part <var>s</var> of the keys give a query row the output <var>O<sub>s</sub></var>, already divided by its
        sum, and LSE<sub><var>s</var></sub>, the logarithm of that sum (chapter 1). Then exp(LSE<sub><var>s</var></sub>)
        is the total weight of part <var>s</var> before the division. So the attention over all parts is the mean of the
        outputs, weighted by these totals. The paper’s Eq. 4 subtracts the largest LSE first:
      </p>
      <p class="formula">
        <var>w<sub>s</sub></var> = exp(LSE<sub><var>s</var></sub> − max LSE), &ensp;
        <var>O</var> = Σ <var>w<sub>s</sub> O<sub>s</sub></var> / Σ <var>w<sub>s</sub></var>, &ensp;
        LSE = max LSE + log Σ <var>w<sub>s</sub></var>
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          ${TOKENS} keys in ${plural(parts.length, "part")}, one query row
          <small>Each part is a shard that one rank would hold. The bar shows its share of the merged output.</small>
        </figcaption>
        ${draw("parts", "row", "order", "seed")}
        ${whole(parts)}
        ${partsTable(model.row, state.row)}
        <p>
          Output is the first of its ${D} elements. The unguarded formula, two parts at a time, gives
          ${Number.isNaN(unguarded) ? wrong : v("unguarded", say(unguarded))}.
        </p>
      </figure>
      <p>
        Row ${v("row", String(state.row))} takes most from part ${v(`weight.${heaviest}`, String(heaviest))}:
        ${v(`weight.${heaviest}`, formatShare(parts[heaviest].weight))}, with an LSE of
        ${v(`lse.${heaviest}`, say(parts[heaviest].lse))}. The merged output is ${v("out", say(out))}, and float64 gives
        ${v("exact.out", say(exact.out))}. The merge is exact and associative: parts can be merged in any order and any
        grouping. So a rank can fold in partial results as they arrive.
      </p>
      <h3>Rows that see no key</h3>
      <p>
        ${empty === 0
          ? html`Here, row ${
            v("row", String(state.row))
          } sees a key of every part. Move the row up: under a causal mask,
              early rows see no keys of late parts.`
          : html`Row ${v("row", String(state.row))} sees no key of ${v("empty", plural(empty, "part"))}. That is no
              error: a causal mask does this to early rows.`}
        Such a part has LSE = −∞ and <var>O</var> = 0, and its weight must be 0. The bare formula doesn’t always give
        that. If both the result so far and the next part are empty, the largest LSE is −∞, and −∞ − (−∞) is NaN.
        ${Number.isNaN(unguarded)
          ? html`Merged from the last part, this row meets two empty parts first, and its output stays ${wrong}.`
          : html`To see it, pick an early row and merge from the last part.`}
        The guard is one line: a part without keys has weight 0. Inside its shaders, this engine uses
        −3·10<sup>38</sup> in place of −∞; the caller gets −∞.
      </p>
      <h3>What may travel in 16 bits</h3>
      <p>
        The table merges the results of ${ROWS} tokens from 2 to 16 parts. It folds the parts in one by one, as they
        would arrive. Every line but the first rounds something to bf16 on the way.
      </p>
      <figure aria-labelledby="stored">
        <figcaption id="stored">
          Error of the merged output against float64
          <small>root mean square over ${ROWS} rows, by number of parts</small>
        </figcaption>
        <ringside-scroll label="Error of the merged output">
          <table>
            ${heads("Stored", ...COUNTS.map(String))}
            <tbody>${model.stored.map(({ name, rms }, i) =>
              html`<tr><th scope="row">${name}</th>${
                rms.map((error, j) => value(`rms.${i}.${j}`, formatError(error)))
              }</tr>`
            )}</tbody>
          </table>
        </ringside-scroll>
      </figure>
      <p>
        With ${COUNTS[most]} parts, partial outputs that travel in bf16 cost
        ${v(`rms.1.${most}`, formatError(o16.rms[most]))}. That is about what they cost with two parts, because the
        rounding errors of the parts average out. An LSE kept in bf16 costs
        ${v(`rms.4.${most}`, formatError(lse16.rms[most]))}, ${v("ratio", times(lse16.rms[most] / o16.rms[most]))} as
        much, and the error grows with every part.
      </p>
      <p>
        The reason: LSE is an exponent, so an absolute error of it is a relative error of a weight. At this row’s LSE,
        bf16 numbers are ${v("spacing", say(spacing.here))} apart. At the LSE of ${formatCount(LONG)} equal keys, they
        are ${v("spacing.long", say(spacing.long))} apart, so a weight is off by up to half of that. In f32 throughout,
        the error is ${v(`rms.0.${most}`, formatError(f32.rms[most]))}. There is one LSE for <var>D</var> output
        elements, so f32 for it costs next to nothing.
      </p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: state.parts, T: 256, P: 0, seed: state.seed, variant: "pass-q", wire: "bf16" },
      "Pass-Q sends partial results home in f32 and merges them there. The check shows the error that remains.",
    ),
  ],
};

/** Each part's share of the merged output. */
function whole(parts: readonly Part[]): TemplateResult {
  return html`<div class="whole" aria-hidden="true">${
    parts.map(({ weight }, s) =>
      html`<div data-v="weight.${s}" style="flex:${weight.toFixed(6)} 0 0;background:${
        rankColour(s, parts.length)
      };color:${onRankColour(s, parts.length)}">${weight > 0.04 ? s : ""}</div>`
    )
  }</div>`;
}

function partsTable({ parts, lse, out, exact }: Merging, row: number): TemplateResult {
  return html`
    <ringside-scroll label="Parts of row ${row} and their merge">
      <table>
        ${heads("Part", "Keys", "Seen", "LSE", "Share", "Output")}
        <tbody>
          ${parts.map((part, s) =>
            html`
              <tr class=${part.seen === 0 ? "later" : ""}>
                <th scope="row">${disc(s, parts.length)}</th>
                <td>${part.from}–${part.to - 1}</td>
                <td>${part.seen}</td>
                ${value(`lse.${s}`, say(part.lse))}
                ${value(`weight.${s}`, formatShare(part.weight))}
                ${value(`out.${s}`, say(part.out))}
              </tr>
            `
          )}
          <tr class="sum">
            <th scope="row">Merged</th>
            <td></td>
            <td>${row + 1}</td>
            ${value("lse", say(lse))}
            <td>${formatShare(parts.reduce((sum, { weight }) => sum + weight, 0))}</td>
            ${value("out", say(out))}
          </tr>
          <tr>
            <th scope="row">float64</th>
            <td></td>
            <td>${row + 1}</td>
            ${value("exact.lse", say(exact.lse))}
            <td></td>
            ${value("exact.out", say(exact.out))}
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}
