/** Chapter 2: attention block by block. */
import { html, svg, type TemplateResult } from "lit";
import { formatBytes, formatCount, formatFlops, formatShare } from "../../../lib/format/format.ts";
import { heads, lit, value } from "../cells.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { type Blocks, blocks } from "../models/blocks.ts";
import { inLab } from "../onward.ts";
import { say } from "../say.ts";
import "../../../lib/elements/scroll.ts";

const controls = {
  tokens: slider("Tokens T", [16, 24, 32, 48, 64], 32),
  size: slider("Tokens of a block B", [4, 8, 16], 8),
  row: slider("Query row to follow", ({ tokens }) => range(0, Number(tokens) - 1), 21),
  seed: slider("Seed", range(1, 20), 2),
};

/** Tiles of a causal mask, and one row through them. */
export const blockwise: Chapter<typeof controls, Blocks> = {
  id: "blocks",
  title: "Blockwise attention",
  controls,
  model: ({ seed, tokens, size, row }) => blocks(seed, tokens, size, row),
  render({ model, state, controls: draw }) {
    const { tokens, size, row } = state;
    const { reads, exact, tiles, pairs, computed } = model;
    const kinds = (kind: string) => tiles.filter((tile) => tile.kind === kind).length;
    const last = reads.findLastIndex(({ seen }) => seen > 0);
    return html`
      <p class="lead">
        Keys need not come one at a time. A GPU works better on blocks of keys: the scores of a few query rows against a
        few keys are one small matrix product, which fits into fast memory.
      </p>
      <p>
        With <var>T</var> = ${v("tokens", formatCount(tokens))} tokens, the scores of one head form a matrix of
        <var>T</var> × <var>T</var>. It takes ${v("scores", formatBytes(model.scoreBytes))} in f32 and grows with the
        square of <var>T</var>. A tile of <var>B</var> × <var>B</var> scores with <var>B</var> =
        ${v("size", String(size))} takes ${v("tile", formatBytes(model.tileBytes))}, whatever <var>T</var> is. Each
        query row carries its running maximum, sum and output from block to block, as in chapter 1. The whole matrix
        never exists.
      </p>
      <p>
        Under a causal mask, token <var>t</var> sees the tokens 0 to <var>t</var>. Kernels skip the tiles above the
        diagonal. They compute the tiles on it and mask scores within them.
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">The mask in tiles, and one row block by block</figcaption>
        ${draw("tokens", "size", "row", "seed")}
        <div class="pair">
          <div>
            <ul class="legend">
              <li><i class="full"></i>computed, all pairs seen: ${v("full", String(kinds("full")))}</li>
              <li><i class="cut"></i>computed, partly masked: ${v("cut", String(kinds("cut")))}</li>
              <li><i class="skipped"></i>skipped: ${v("skipped", String(kinds("skipped")))}</li>
              <li><i class="row"></i>the row</li>
            </ul>
            ${mask(model, size, row)}
          </div>
          <div>
            ${rowTable(model, row)}
            ${workTable(model)}
          </div>
        </div>
      </figure>
      <p>
        Row ${v("row", String(row))} sees ${v("keys", String(row + 1))} keys, in ${v("blocks", String(last + 1))} of
        ${v("count", String(reads.length))} blocks. After the first block, its output is the exact attention over that
        block’s keys, with LSE ${v("lse.0", say(reads[0].lse))}. After the last block that it sees, LSE is
        ${v(`lse.${last}`, say(reads[last].lse))} and the first element of the output is
        ${v(`out.${last}`, say(reads[last].out))}. float64 over all these keys at once gives
        ${v("exact.out", say(exact.out))}. The difference is rounding, not approximation.
      </p>
      <h3>What it costs</h3>
      <p>
        Each pair of a query and a key that it sees takes 4<var>D</var> floating-point operations: 2<var>D</var> for the
        score and 2<var>D</var> for the weighted value. Here are ${v("pairs", formatCount(pairs))} such pairs, about
        half of <var>T</var>². The computed tiles hold ${v("computed", formatCount(computed))} pairs, so
        ${v("useful", formatShare(pairs / computed))} of the work is useful. Smaller blocks waste less on the diagonal;
        larger blocks read keys and values less often. The waste falls as <var>B</var>/<var>T</var>, so it is negligible
        for long contexts.
      </p>
      <p>
        Apart from rounding, the order of the blocks doesn’t change the result. The blocks needn’t even be in the same
        memory. FlashAttention reads them from one GPU’s memory; ring attention receives them from a neighbour. The next
        chapters build on that.
      </p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: 1, T: 16 * state.tokens, P: 0, seed: state.seed, variant: "pass-kv" },
      "This machine’s tiled kernel on one rank. The report names the kernel and its rate.",
    ),
  ],
};

/** The followed row after each block. */
function rowTable({ reads, exact }: Blocks, row: number): TemplateResult {
  return html`
    <ringside-scroll label="Row ${row} after each block">
      <table>
        <caption>Row ${row} after each block</caption>
        ${heads("Keys", "Seen", "LSE", "Output")}
        <tbody>
          ${reads.map(({ from, to, seen, lse, out }, i) =>
            html`
              <tr class=${seen === 0 ? "later" : ""}>
                <th scope="row">${lit(`tile.${i}`, `${from}–${to - 1}`)}</th>
                <td>${seen}</td>
                ${value(`lse.${i}`, seen === 0 ? "skipped" : say(lse))}
                ${value(`out.${i}`, seen === 0 ? "" : say(out))}
              </tr>
            `
          )}
          <tr class="sum">
            <th scope="row">float64</th>
            <td>${row + 1}</td>
            ${value("exact.lse", say(exact.lse))}
            ${value("exact.out", say(exact.out))}
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** What the mask and the tiles cost. */
function workTable({ pairs, computed, flops, scoreBytes, tileBytes }: Blocks): TemplateResult {
  const rows = [
    ["Pairs seen", "pairs", formatCount(pairs)],
    ["Pairs in computed tiles", "computed", formatCount(computed)],
    ["FLOPs of the pairs seen", "flops", formatFlops(flops)],
    ["All scores at once", "scores", formatBytes(scoreBytes)],
    ["Scores of one tile", "tile", formatBytes(tileBytes)],
  ];
  return html`
    <table>
      <caption>Work</caption>
      <tbody>${rows.map(([name, key, text]) => html`<tr><th scope="row">${name}</th>${value(key, text)}</tr>`)}</tbody>
    </table>
  `;
}

function mask({ tiles, reads }: Blocks, size: number, row: number): TemplateResult {
  const n = reads.length;
  const words = `Causal mask of ${n} by ${n} tiles: those below the diagonal are seen whole, those on it are partly ` +
    `masked, those above it are skipped. Row ${row} is in tile row ${Math.floor(row / size) + 1}.`;
  return html`
    <svg class="mask" viewBox="0 0 ${n} ${n}" role="img" aria-label=${words}>
        ${tiles.map(({ row: r, column: c, kind }) =>
          svg`<rect class="tile ${kind}" data-v="tile.${c}" x=${c} y=${r} width="1" height="1"></rect>`
        )}
        <rect class="row" x="0.08" y=${row / size} width=${(row + 1) / size - 0.08} height=${1 / size}></rect>
      </svg>
  `;
}
