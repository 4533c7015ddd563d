/** Chapter 3: merging partial results. */
import { html } from "lit";
import { formatCount, formatError, formatShare } from "../../../lib/format/format.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { type Chapter, choice, range, slider, v } from "../chapter.ts";
import { COUNTS, LONG, type Merging, merging, ROWS, type Stored, TOKENS } from "../models/merge.ts";
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
    const { parts, out, lse, exact, unguarded, spacing } = model.row;
    const heaviest = parts.reduce((best, part, i) => (part.weight > parts[best].weight ? i : best), 0);
    const empty = parts.filter(({ seen }) => seen === 0).length;
    const [f32, o16, , , lse16] = model.stored;
    const most = COUNTS.length - 1;
    return html`
      <p
        class="lead">Two machines that hold different keys can each attend to their own, and join the results afterwards. The join needs one number a row beside the output.</p>
      <p>Let part <var>s</var> of the keys give a query row the output <var>O<sub>s</sub></var>, already divided by its sum, and LSE<sub><var>s</var></sub>, the logarithm of that sum (chapter 1). exp(LSE<sub><var>s</var></sub>) is the total weight that part <var>s</var> has before the division. So the attention over all parts is their mean, weighted by it. The paper’s Eq. 4 says so with the largest LSE subtracted:</p>
      <p
        class="formula"><var>w<sub>s</sub></var> = exp(LSE<sub><var>s</var></sub> − max LSE), &ensp; <var>O</var> = Σ <var>w<sub>s</sub> O<sub>s</sub></var> / Σ <var>w<sub>s</sub></var>, &ensp; LSE = max LSE + log Σ <var>w<sub>s</sub></var></p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">${TOKENS} keys in ${plural(
          parts.length,
          "part",
        )}, one query row <small>Each part is a shard that a rank would hold. The bar is its share of the merged output.</small></figcaption>
        ${draw("parts", "row", "order", "seed")}
        <div class="whole" aria-hidden="true">${parts.map(({ weight }, s) =>
          html`<div data-v="weight.${s}" style="flex:${weight.toFixed(6)} 0 0;background:${
            rankColour(s, parts.length)
          };color:${onRankColour(s, parts.length)}">${weight > 0.04 ? s : ""}</div>`
        )}</div>
        <ringside-scroll label="Parts of row ${state.row} and their merge"><table>
          <thead><tr><th scope="col">Part</th><th scope="col">Keys</th><th scope="col">Seen</th><th scope="col">LSE</th><th scope="col">Share</th><th scope="col">Output</th></tr></thead>
          <tbody>${parts.map((part, s) =>
            html`
              <tr class=${part.seen === 0 ? "later" : ""}>
                <th scope="row"><span class="disc" style="background:${rankColour(
                  s,
                  parts.length,
                )};color:${onRankColour(s, parts.length)}">${s}</span></th>
                <td>${part.from}–${part.to - 1}</td>
                <td>${part.seen}</td>
                <td><span data-v="lse.${s}">${say(part.lse)}</span></td>
                <td><span data-v="weight.${s}">${formatShare(part.weight)}</span></td>
                <td><span data-v="out.${s}">${say(part.out)}</span></td>
              </tr>
            `
          )}
          <tr class="sum"><th scope="row">Merged</th><td></td><td>${state.row + 1}</td><td><span data-v="lse">${say(
            lse,
          )}</span></td><td>${formatShare(
            parts.reduce((sum, { weight }) => sum + weight, 0),
          )}</td><td><span data-v="out">${say(out)}</span></td></tr>
          <tr><th scope="row">float64</th><td></td><td>${state.row + 1}</td><td><span data-v="exact.lse">${say(
            exact.lse,
          )}</span></td><td></td><td><span data-v="exact.out">${say(exact.out)}</span></td></tr></tbody>
        </table></ringside-scroll>
        <p>Output is the first of its ${D} elements. The unguarded formula, two parts at a time, gives ${Number.isNaN(
            unguarded,
          )
          ? html`<b class="v wrong" data-v="unguarded">${say(unguarded)}</b>`
          : v("unguarded", say(unguarded))}.</p>
      </figure>
      <p>Row ${v("row", String(state.row))} takes most from part ${v(`weight.${heaviest}`, String(heaviest))}: ${v(
        `weight.${heaviest}`,
        formatShare(parts[heaviest].weight),
      )}, with an LSE of ${v(`lse.${heaviest}`, say(parts[heaviest].lse))}. The merged output is ${v(
        "out",
        say(out),
      )} and float64 says ${v(
        "exact.out",
        say(exact.out),
      )}. The merge is exact, and associative: any order and any grouping will do. So partial results can be folded in as they come.</p>
      <h3>Rows that see no key</h3>
      <p>${empty === 0
        ? html`Here every part has a key that row ${
          v("row", String(state.row))
        } sees. Move the row up: under a causal mask early rows see nothing of late parts.`
        : html`Row ${v("row", String(state.row))} sees nothing of ${
          v("empty", plural(empty, "part"))
        }. That is no error: it is what a causal mask does to early rows.`} Such a part has LSE = −∞ and <var>O</var> = 0, and must weigh nothing. The formula as it is written does not always grant that. When what is held and what comes are both empty, the largest LSE is −∞, and −∞ − (−∞) is NaN. ${Number
          .isNaN(unguarded)
        ? html`
          Merged from the last part, this row meets two empty parts first, and its output is <b class="v wrong"
            data-v="unguarded">${say(unguarded)}</b> for good.
        `
        : html`Merge from the last part an early row to see it.`} The guard is one line: a part without keys has weight 0. This engine carries −3·10<sup>38</sup> inside shaders in place of −∞, and tells the caller −∞.</p>
      <h3>What may travel in 16 bits</h3>
      <p>Below, ${ROWS} tokens are merged from 2 to 16 parts, folded one by one as they would arrive, with something rounded to bf16 on the way.</p>
      <figure aria-labelledby="stored">
        <figcaption
          id="stored">Error of the merged output against float64 <small>root mean square over ${ROWS} rows, by number of parts</small></figcaption>
        <ringside-scroll label="Error of the merged output">
          <table>
            <thead>
              <tr><th scope="col">Stored</th>${COUNTS.map((count) => html`<th scope="col">${count}</th>`)}</tr>
            </thead>
            <tbody>${model.stored.map(({ name, rms }, i) =>
              html`<tr><th scope="row">${name}</th>${
                rms.map((error, j) => html`<td><span data-v="rms.${i}.${j}">${formatError(error)}</span></td>`)
              }</tr>`
            )}</tbody>
          </table>
        </ringside-scroll>
      </figure>
      <p>A partial output that travels in bf16 costs ${v(
        `rms.1.${most}`,
        formatError(o16.rms[most]),
      )} with ${COUNTS[
        most
      ]} parts, about what it costs with two: rounding errors of parts average out. An LSE kept in bf16 costs ${v(
        `rms.4.${most}`,
        formatError(lse16.rms[most]),
      )}, ${v(
        "ratio",
        times(lse16.rms[most] / o16.rms[most]),
      )} as much, and grows with every part. It stands in an exponent, where an absolute error becomes a relative error of a weight, and bf16 numbers lie ${v(
        "spacing",
        say(spacing.here),
      )} apart at this row’s LSE. At the LSE of ${formatCount(LONG)} equal keys they lie ${v(
        "spacing.long",
        say(spacing.long),
      )} apart: a weight off by up to half of that. In f32 throughout the error is ${v(
        `rms.0.${most}`,
        formatError(f32.rms[most]),
      )}. One LSE goes with <var>D</var> output elements, so f32 for it costs next to nothing.</p>
    `;
  },
  onward: (
    { state },
  ) => [
    inLab(
      { N: state.parts, T: 256, P: 0, seed: state.seed, variant: "pass-q", wire: "bf16" },
      "pass-Q sends partial results home in f32 and merges them there; the check shows what remains.",
    ),
  ],
};
