/** Chapter 4: who holds which token, and who computes what. */
import { html, nothing, svg, type TemplateResult } from "lit";
import { disc } from "../../../lib/elements/disc.ts";
import { formatCount, formatFlops, formatShare } from "../../../lib/format/format.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import { heads, meter, value } from "../cells.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { type Deal, held, type Sharding, sharding } from "../models/shards.ts";
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
      <p class="lead">
        Context parallelism deals the tokens of a sequence to <var>N</var> ranks. Each rank keeps the queries, keys and
        values of its tokens. Which tokens a rank gets decides how long it computes.
      </p>
      <p>
        Under a causal mask, a late token sees more keys than an early one. Cut ${v("fresh", formatCount(fresh))} new
        tokens into contiguous pieces, one per rank. Then rank ${v("last", String(last))}, with the last piece, computes
        ${v(`c.pairs.${last}`, formatCount(contiguous.pairs[last]))} query-key pairs, and rank 0 only
        ${v("c.pairs.0", formatCount(contiguous.pairs[0]))}. All ranks wait for the slowest. It has
        ${v("c.imbalance", times(contiguous.imbalance))} the mean, so
        ${v("c.idle", formatShare(1 - 1 / contiguous.imbalance))} of the ranks’ time is idle.
      </p>
      <p>
        The paper cuts the sequence into 2<var>N</var> equal chunks, <var>C</var><sub>0</sub> to
        <var>C</var><sub>2<var>N</var>−1</sub>. Rank <var>i</var> gets <var>C<sub>i</sub></var> and
        <var>C</var><sub>2<var>N</var>−1−<var>i</var></sub>: one chunk from the head, one from the tail. An early chunk’s
        short rows make up for a late chunk’s long ones. The busiest rank here then has
        ${v("h.imbalance", headTail.imbalance === 1 ? "exactly" : times(headTail.imbalance))} the mean.
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          ${formatCount(fresh)} new tokens on ${ranks} ranks
          <small>
            Colours and numbers are ranks. In the masks, rows are queries and columns are
            keys${cached > 0 ? ", cached keys on the left" : ""}. The colour is the rank that computes the row.
          </small>
        </figcaption>
        ${draw("ranks", "fresh", "cached", "second")}
        <div class="pair">
          ${half("Head-tail", headTail, fresh, cached)}
          ${half("Contiguous", contiguous, fresh, cached)}
        </div>
        ${work(model)}
      </figure>
      <p>
        With head-tail chunks, rank 0 computes ${v("h.pairs.0", formatCount(headTail.pairs[0]))} pairs, or
        ${v("h.flops.0", formatFlops(headTail.flops[0]))} per head at this small head size. Rank
        ${v("last", String(last))} computes ${v(`h.pairs.${last}`, formatCount(headTail.pairs[last]))} pairs. All ranks
        hold almost the same number of tokens, so memory is as balanced as work: no rank’s cache fills up before the
        others’.
        ${fresh % (2 * ranks) === 0
          ? nothing
          : html`2<var>N</var> does not divide ${v("fresh", String(fresh))}, so some chunks have one token more than
              others. This causes the rest of the imbalance.`}
      </p>
      <h3>Cached tokens</h3>
      <p>
        ${cached === 0
          ? html`A partial prefill also has <var>P</var> tokens in the cache, from earlier turns. Move the slider to add
              some.`
          : html`Every new token sees all ${v("cached", formatCount(cached))} cached tokens, whichever rank holds
              them.`}
        Only the new tokens are dealt; cached tokens stay on the ranks that have them. Each new token sees the whole
        cache. So if <var>P</var> is large, even contiguous shards are close to balance. Busiest over mean is now
        ${v("c.imbalance", say(contiguous.imbalance))} for contiguous shards and
        ${v("h.imbalance", say(headTail.imbalance))} for head-tail.
      </p>
      <h3>What goes wrong: padding</h3>
      <p>
        Ring messages have the same size on all ranks (chapter 5), but ranks do not always hold the same number of
        tokens. A shorter shard is padded to the longest: <var>L<sub>i</sub></var> is the most tokens of sequence
        <var>i</var> that any rank holds. Each sequence of a batch is sharded and padded separately, and all of them
        travel fused in one message.
        ${second === 0
          ? "Add a second sequence to see it."
          : html`With a second sequence of ${v("second", plural(second, "token"))}, a KV message has
              ${v("rows", plural(message.rows, "row"))}, and the ranks hold ${v("tokens", message.tokens.join(", "))}
              tokens.`}
        ${padded === 0
          ? html`Here, nothing is padded.`
          : html`${v("padded", plural(padded, "row"))} of ${v("all", String(ranks * message.rows))} are padding: sent,
              but never seen.`}
        A kernel that forgets padding attends to rows of zeros. Their score is 0, not −∞, so they take weight from real
        keys. That is why every block says which rows are tokens, and at which positions.
      </p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: state.ranks, T: 8 * state.fresh, P: 8 * state.cached, variant: "pass-kv" },
      "Eight times as many tokens. The timeline shows how even the ranks’ attention is, hop by hop.",
    ),
  ],
};

/** Pairs of each rank in both deals. */
function work({ headTail, contiguous }: Sharding): TemplateResult {
  const ranks = headTail.pairs.length;
  const most = Math.max(...contiguous.pairs);
  const bar = (key: string, pairs: number, k: number) => meter(key, pairs / most, rankColour(k, ranks));
  return html`
    <ringside-scroll label="Work of each rank">
      <table>
        <caption>Query-key pairs of each rank <small>attention costs 4 D FLOPs per pair and head</small></caption>
        ${heads("Rank", "Tokens", "Head-tail", "", "Contiguous", "")}
        <tbody>
          ${headTail.pairs.map((pairs, k) =>
            html`
              <tr>
                <th scope="row">${disc(k, ranks)}</th>
                <td>${held(headTail, k)}</td>
                ${value(`h.pairs.${k}`, formatCount(pairs))}
                ${bar(`h.pairs.${k}`, pairs, k)}
                ${value(`c.pairs.${k}`, formatCount(contiguous.pairs[k]))}
                ${bar(`c.pairs.${k}`, contiguous.pairs[k], k)}
              </tr>
            `
          )}
          <tr class="sum">
            <th scope="row">Busiest over mean</th>
            <td></td>
            ${value("h.imbalance", say(headTail.imbalance))}
            <td></td>
            ${value("c.imbalance", say(contiguous.imbalance))}
            <td></td>
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** A deal's strip of tokens and its mask. */
function half(name: string, deal: Deal, fresh: number, cached: number): TemplateResult {
  const ranks = deal.ranges.length;
  const prefix = name === "Head-tail" ? "h" : "c";
  const runs = deal.ranges.flatMap((ranges, rank) => ranges.map((one) => ({ ...one, rank })))
    .sort((a, b) => a.start - b.start);
  const columns = cached + fresh;
  const dealt = runs.map(({ start, end, rank }) => `tokens ${start} to ${end - 1} on rank ${rank}`).join(", ");
  const pairs = deal.pairs.map((n, k) => `${n} pairs on rank ${k}`).join(", ");
  return html`
    <div>
      <h3>${name}</h3>
      <div class="whole thin" role="img" aria-label="${name}: ${dealt}">
        ${cached > 0 ? html`<div class="cached" style="flex:${cached} 0 0">cached</div>` : nothing}
        ${runs.map(({ start, end, rank }) =>
          html`
            <div data-v="${prefix}.pairs.${rank}"
              style="flex:${end - start} 0 0;background:${rankColour(rank, ranks)};color:${onRankColour(
                rank,
                ranks,
              )}">${rank}</div>
          `
        )}
      </div>
      <svg class="mask wide" viewBox="0 0 ${columns} ${fresh}" preserveAspectRatio="none"
        style="aspect-ratio:${columns <= fresh * 1.5 ? `${columns}/${fresh}` : "1.5"}" role="img"
        aria-label="${name}: causal mask of ${fresh} queries and ${columns} keys, ${pairs}">
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

/** The part of the mask that tokens `start` to `end` see: row t reaches key t. */
function stairs(start: number, end: number, cached: number): string {
  let d = `M0 ${start - cached}`;
  for (let t = start; t < end; t++) d += `H${t + 1}V${t - cached + 1}`;
  return `${d}H0Z`;
}
