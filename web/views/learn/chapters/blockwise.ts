/** Chapter 2: attention block by block. */
import { html, svg, type TemplateResult } from "lit";
import { formatBytes, formatCount, formatFlops, formatShare } from "../../../lib/format/format.ts";
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
      <p
        class="lead">Keys need not come one at a time. A block of them makes better use of a GPU: the scores of a few query rows against a few keys are one small matrix product, and fit into fast memory.</p>
      <p>With <var>T</var> = ${v(
        "tokens",
        formatCount(tokens),
      )} tokens, all scores of one head are a matrix of <var>T</var> × <var>T</var>: ${v(
        "scores",
        formatBytes(model.scoreBytes),
      )} in f32, and it grows with the square of <var>T</var>. A tile of <var>B</var> × <var>B</var> scores with <var>B</var> = ${v(
        "size",
        String(size),
      )} is ${v(
        "tile",
        formatBytes(model.tileBytes),
      )}, whatever <var>T</var> is. Each query row carries its running maximum, sum and output from block to block, as in chapter 1; the whole matrix never exists.</p>
      <p>A causal mask lets token <var>t</var> see the tokens 0 to <var>t</var>. Tiles above the diagonal are not computed at all. Tiles on it are computed, and masked within.</p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">The mask in tiles, and one row through its blocks</figcaption>
        ${draw("tokens", "size", "row", "seed")}
        <div class="pair">
          <div>
            <ul class="legend"><li><i class="full"></i>computed, all seen: ${v(
              "full",
              String(kinds("full")),
            )}</li><li><i class="cut"></i>computed, cut by the mask: ${v(
              "cut",
              String(kinds("cut")),
            )}</li><li><i class="skipped"></i>skipped: ${v(
              "skipped",
              String(kinds("skipped")),
            )}</li><li><i class="row"></i>the row</li></ul>
            ${mask(model, size, row)}
          </div>
          <div>
            <ringside-scroll label="Row ${row} after each block"><table>
              <caption>Row ${row} after each block</caption>
              <thead><tr><th scope="col">Keys</th><th scope="col">Seen</th><th scope="col">LSE</th><th scope="col">Output</th></tr></thead>
              <tbody>${reads.map(({ from, to, seen, lse, out }, i) =>
                html`
                  <tr class=${seen === 0 ? "later" : ""}>
                    <th scope="row"><span data-v="tile.${i}">${from}–${to - 1}</span></th>
                    <td>${seen}</td>
                    <td><span data-v="lse.${i}">${seen === 0 ? "skipped" : say(lse)}</span></td>
                    <td><span data-v="out.${i}">${seen === 0 ? "" : say(out)}</span></td>
                  </tr>
                `
              )}
              <tr class="sum"><th scope="row">float64</th><td>${row + 1}</td><td><span data-v="exact.lse">${say(
                exact.lse,
              )}</span></td><td><span data-v="exact.out">${say(exact.out)}</span></td></tr></tbody>
            </table></ringside-scroll>
            <table>
              <caption>Work</caption>
              <tbody><tr><th scope="row">Pairs that are seen</th><td><span data-v="pairs">${formatCount(
                pairs,
              )}</span></td></tr>
              <tr><th scope="row">Pairs in computed tiles</th><td><span data-v="computed">${formatCount(
                computed,
              )}</span></td></tr>
              <tr><th scope="row">FLOPs of the seen pairs</th><td><span data-v="flops">${formatFlops(
                model.flops,
              )}</span></td></tr>
              <tr><th scope="row">All scores at once</th><td><span data-v="scores">${formatBytes(
                model.scoreBytes,
              )}</span></td></tr>
              <tr><th scope="row">Scores of a tile</th><td><span data-v="tile">${formatBytes(
                model.tileBytes,
              )}</span></td></tr></tbody>
            </table>
          </div>
        </div>
      </figure>
      <p>Row ${v("row", String(row))} sees ${v("keys", String(row + 1))} keys, in ${v(
        "blocks",
        String(last + 1),
      )} of ${v(
        "count",
        String(reads.length),
      )} blocks. After the first block its output is the exact attention over that block’s keys: LSE ${v(
        "lse.0",
        say(reads[0].lse),
      )}. After the last that it sees, LSE is ${v(
        `lse.${last}`,
        say(reads[last].lse),
      )} and the first element of the output ${v(
        `out.${last}`,
        say(reads[last].out),
      )}; float64 over all of them at once says ${v(
        "exact.out",
        say(exact.out),
      )}. The difference is rounding, not approximation.</p>
      <h3>What it costs</h3>
      <p>Each pair of a query and a key that it sees takes 4<var>D</var> floating-point operations: 2<var>D</var> for the score, 2<var>D</var> for the weighted value. There are ${v(
        "pairs",
        formatCount(pairs),
      )} such pairs here, about half of <var>T</var>². The tiles that are computed hold ${v(
        "computed",
        formatCount(computed),
      )}, so ${v(
        "useful",
        formatShare(pairs / computed),
      )} of their work is useful. Smaller blocks waste less on the diagonal, larger ones read keys and values less often. The waste falls as <var>B</var>/<var>T</var>, so long contexts do not notice it.</p>
      <p>The order of the blocks plays no part in the result but for rounding. And nothing here asks that the blocks be in the same memory. That is the door to the next chapters: FlashAttention reads the blocks from one GPU’s memory, ring attention receives them from a neighbour.</p>
    `;
  },
  onward: (
    { state },
  ) => [
    inLab(
      { N: 1, T: 16 * state.tokens, P: 0, seed: state.seed, variant: "pass-kv" },
      "The tiled kernel of this machine on one rank; the report names it and its rate.",
    ),
  ],
};

function mask({ tiles, reads }: Blocks, size: number, row: number): TemplateResult {
  const n = reads.length;
  return html`
    <svg class="mask" viewBox="0 0 ${n} ${n}" role="img"
      aria-label="Causal mask of ${n} by ${n} tiles: below the diagonal all seen, on it cut, above it skipped. Row ${row} lies in tile row ${Math
        .floor(row / size) + 1}.">
        ${tiles.map(({ row: r, column: c, kind }) =>
          svg`<rect class="tile ${kind}" data-v="tile.${c}" x=${c} y=${r} width="1" height="1"></rect>`
        )}
        <rect class="row" x="0.08" y=${row / size} width=${(row + 1) / size - 0.08} height=${1 / size}></rect>
      </svg>
  `;
}
