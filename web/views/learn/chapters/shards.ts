/** Chapter 4: who holds which token, and who computes what. */
import { html, nothing, svg, type TemplateResult } from "lit";
import { formatCount, formatFlops, formatShare } from "../../../lib/format/format.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { held, type Layout, type Sharding, sharding } from "../models/shards.ts";
import { inLab } from "../onward.ts";
import { plural, say, times } from "../say.ts";
import "../../../lib/elements/scroll.ts";

const controls = {
  ranks: slider("Ranks N", range(2, 8), 4),
  fresh: slider("New tokens T", [16, 24, 32, 50, 64, 100, 128], 64),
  cached: slider("Cached tokens P", [0, 16, 32, 64, 128, 256], 0),
  second: slider("Second sequence", [0, 5, 9, 13, 30], 0),
};

/** Head-tail sharding beside contiguous shards. */
export const shards: Chapter<typeof controls, Sharding> = {
  id: "shards",
  title: "Sharding and balance",
  controls,
  model: ({ ranks, fresh, cached, second }) => Promise.resolve(sharding(ranks, fresh, cached, second)),
  render({ model, state, controls: draw }) {
    const { headTail, contiguous, message } = model;
    const { ranks, fresh, cached, second } = state;
    const last = ranks - 1;
    const padding = message.tokens.map((n) => message.rows - n);
    const padded = padding.reduce((a, b) => a + b);
    return html`
      <p
        class="lead">Context parallelism deals the tokens of a sequence to <var>N</var> ranks. Each rank keeps their queries, keys and values. Which tokens it gets decides how long it computes.</p>
      <p>Under a causal mask a late token sees more keys than an early one. Give each rank a contiguous piece of ${v(
        "fresh",
        formatCount(fresh),
      )} new tokens, and rank ${v("last", String(last))}, with the last piece, computes ${v(
        `c.pairs.${last}`,
        formatCount(contiguous.pairs[last]),
      )} query-key pairs, rank 0 only ${v(
        "c.pairs.0",
        formatCount(contiguous.pairs[0]),
      )}. All wait for the slowest: it has ${v("c.imbalance", times(contiguous.imbalance))} the mean, so ${v(
        "c.idle",
        formatShare(1 - 1 / contiguous.imbalance),
      )} of the ranks’ time is idle.</p>
      <p>The paper cuts the sequence into 2<var>N</var> equal chunks <var>C</var><sub>0</sub> to <var>C</var><sub>2<var>N</var>−1</sub> and gives rank <var>i</var> the pair <var>C<sub>i</sub></var> and <var>C</var><sub>2<var>N</var>−1−<var>i</var></sub>: one from the head, one from the tail. An early chunk’s short rows make up for a late chunk’s long ones. Then the busiest rank here has ${v(
        "h.imbalance",
        headTail.imbalance === 1 ? "exactly" : times(headTail.imbalance),
      )} the mean.</p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">${formatCount(
          fresh,
        )} new tokens on ${ranks} ranks <small>Colour and number are the rank. In the masks, a row is a query, a column a key, and the colour the rank that computes the row${cached >
            0
          ? "; the cached keys are on the left"
          : ""}.</small></figcaption>
        ${draw("ranks", "fresh", "cached", "second")}
        <div class="pair">${half("Head-tail", headTail, fresh, cached)}${half(
          "Contiguous",
          contiguous,
          fresh,
          cached,
        )}</div>
        <ringside-scroll label="Work of each rank"><table>
          <caption>Query-key pairs of each rank <small>attention costs 4 D FLOPs a pair and head</small></caption>
          <thead><tr><th scope="col">Rank</th><th scope="col">Tokens</th><th scope="col">Head-tail</th><td></td><th scope="col">Contiguous</th><td></td></tr></thead>
          <tbody>${headTail.pairs.map((pairs, k) =>
            html`<tr><th scope="row">${mark(k, ranks)}</th><td>${
              held(headTail, k)
            }</td><td><span data-v="h.pairs.${k}">${formatCount(pairs)}</span></td>${
              meter(k, ranks, pairs, contiguous, `h.pairs.${k}`)
            }<td><span data-v="c.pairs.${k}">${formatCount(contiguous.pairs[k])}</span></td>${
              meter(k, ranks, contiguous.pairs[k], contiguous, `c.pairs.${k}`)
            }</tr>`
          )}
          <tr class="sum"><th scope="row">Busiest over mean</th><td></td><td><span data-v="h.imbalance">${say(
            headTail.imbalance,
          )}</span></td><td></td><td><span data-v="c.imbalance">${say(
            contiguous.imbalance,
          )}</span></td><td></td></tr></tbody>
        </table></ringside-scroll>
      </figure>
      <p>Rank 0 now computes ${v("h.pairs.0", formatCount(headTail.pairs[0]))} pairs, ${v(
        "h.flops.0",
        formatFlops(headTail.flops[0]),
      )} a head of this small size, and rank ${v("last", String(last))} computes ${v(
        `h.pairs.${last}`,
        formatCount(headTail.pairs[last]),
      )}. All hold almost the same number of tokens, so memory is as balanced as work: no rank’s cache is full before the others’. ${fresh %
            (2 * ranks) === 0
        ? ""
        : html`2<var>N</var> does not divide ${
          v("fresh", String(fresh))
        }, so some chunks have one token more than others; the rest of the imbalance comes from that.`}</p>
      <h3>Cached tokens</h3>
      <p>${cached === 0
        ? html`In a partial prefill there are also <var>P</var> tokens in the cache, from earlier turns. Move the slider to add some.`
        : html`The ${
          v("cached", formatCount(cached))
        } cached tokens are seen by every new one, wherever they lie.`} The split is applied to the new tokens only; the cached ones stay on the ranks that have them. Each new token sees the whole cache, so with <var>P</var> large even contiguous shards come close to balance: the busiest over the mean is now ${v(
          "c.imbalance",
          say(contiguous.imbalance),
        )}, and ${v("h.imbalance", say(headTail.imbalance))} head-tail.</p>
      <h3>What goes wrong: padding</h3>
      <p>Ring messages have the same size on all ranks (chapter 5), but ranks do not always hold the same number of tokens. A shorter shard is padded to the longest: <var>L<sub>i</sub></var> = max over ranks of what they hold of sequence <var>i</var>. Sequences of a batch are sharded each by itself and travel fused in one message, each with a padding of its own. ${second ===
          0
        ? "Add a second sequence to see it."
        : html`With a second sequence of ${v("second", plural(second, "token"))}, a KV message has ${
          v("rows", plural(message.rows, "row"))
        } and the ranks hold ${v("tokens", message.tokens.join(", "))} tokens.`} ${padded === 0
        ? html`Here nothing is padded.`
        : html`${v("padded", plural(padded, "row"))} of ${
          v("all", String(ranks * message.rows))
        } are padding: sent, never seen.`} A kernel that forgets it attends to rows of zeros: their score is 0, not −∞, and they take weight from real keys. So every block says which rows are tokens, and at which positions.</p>
    `;
  },
  onward: (
    { state },
  ) => [
    inLab(
      { N: state.ranks, T: 8 * state.fresh, P: 8 * state.cached, variant: "pass-kv" },
      "Eight times the tokens; the timeline shows how even the ranks’ attention is, hop by hop.",
    ),
  ],
};

function mark(rank: number, ranks: number): TemplateResult {
  return html`<span class="disc" style="background:${rankColour(rank, ranks)};color:${
    onRankColour(rank, ranks)
  }">${rank}</span>`;
}

function meter(rank: number, ranks: number, pairs: number, scale: Layout, key: string): TemplateResult {
  return html`<td class="meter"><i aria-hidden="true" data-v=${key} style="width:${
    (100 * pairs) / Math.max(...scale.pairs)
  }%;--fill:${rankColour(rank, ranks)}"></i></td>`;
}

/** A layout's strip of tokens and its mask. */
function half(name: string, layout: Layout, fresh: number, cached: number): TemplateResult {
  const ranks = layout.ranges.length;
  const prefix = name === "Head-tail" ? "h" : "c";
  const runs = layout.ranges.flatMap((ranges, rank) => ranges.map((one) => ({ ...one, rank }))).sort((a, b) =>
    a.start - b.start
  );
  const columns = cached + fresh;
  return html`
    <div>
      <h3>${name}</h3>
      <div class="whole thin" role="img" aria-label="${name}: ${runs.map(({ start, end, rank }) =>
        `tokens ${start} to ${end - 1} on rank ${rank}`
      ).join(", ")}">${cached > 0 ? html`<div class="cached" style="flex:${cached} 0 0">cached</div>` : nothing}${runs
        .map(({ start, end, rank }) =>
          html`
            <div data-v="${prefix}.pairs.${rank}"
              style="flex:${end - start} 0 0;background:${rankColour(rank, ranks)};color:${onRankColour(
                rank,
                ranks,
              )}">${rank}</div>
          `
        )}</div>
      <svg class="mask wide" viewBox="0 0 ${columns} ${fresh}" preserveAspectRatio="none"
        style="aspect-ratio:${columns <= fresh * 1.5 ? `${columns}/${fresh}` : "1.5"}" role="img"
        aria-label="${name}: causal mask of ${fresh} queries and ${columns} keys, ${layout.pairs.map((pairs, k) =>
          `${pairs} pairs on rank ${k}`
        ).join(", ")}">
          ${runs.map(({ start, end, rank }) =>
            svg`<path data-v="${prefix}.pairs.${rank}" d=${stairs(start, end, cached)} fill=${
              rankColour(rank, ranks)
            }></path>`
          )}
          ${cached > 0
            ? svg`<line x1=${cached} x2=${cached} y1="0" y2=${fresh} stroke="var(--paper)" stroke-width=${
              columns / 160
            }></line>`
            : nothing}
        </svg>
    </div>
  `;
}

/** The seen part of the rows of tokens `start` to `end`: row t reaches key t. */
function stairs(start: number, end: number, cached: number): string {
  let d = `M0 ${start - cached}`;
  for (let t = start; t < end; t++) d += `H${t + 1}V${t - cached + 1}`;
  return `${d}H0Z`;
}
