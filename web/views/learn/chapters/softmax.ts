/** Chapter 1: softmax with a running maximum. */
import { html, nothing, type TemplateResult } from "lit";
import { heads, lit, value } from "../cells.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { type Read, type RunningSoftmax, runningSoftmax } from "../models/softmax.ts";
import { inLab } from "../onward.ts";
import { say } from "../say.ts";
import "../../../lib/elements/scroll.ts";

const KEYS = 8;
const controls = {
  read: slider("Keys read", range(1, KEYS), 4),
  shift: slider("Added to every score", [-1000, -100, -20, 0, 20, 80, 90, 1000], 0, (value) => say(value)),
  seed: slider("Seed", range(1, 20), 3),
};

/** One row of scores, read key by key. */
export const softmax: Chapter<typeof controls, RunningSoftmax> = {
  id: "softmax",
  title: "Softmax with a running maximum",
  controls,
  model: ({ seed, shift }) => Promise.resolve(runningSoftmax(seed, KEYS, shift)),
  render({ model, state, controls: draw }) {
    const { reads, exact, naive, limit } = model;
    const i = state.read - 1;
    const now = reads[i];
    const grew = i > 0 && now.rescale < 1;
    return html`
      <p class="lead">
        Attention weighs values by a softmax of scores. To spread attention over many machines, each machine must be
        able to work on part of the keys. The first step is a softmax that reads its scores one at a time.
      </p>
      <p>
        For a query row <var>q</var>, key <var>j</var> has the score <var>s<sub>j</sub></var> =
        <var>q</var>·<var>k<sub>j</sub></var>/√<var>D</var>, where <var>D</var> is the head dimension. The output is a
        weighted mean of the value rows <var>v<sub>j</sub></var>. Each has the weight exp(<var>s<sub>j</sub></var>),
        divided by the sum of all weights. Nobody computes it this way: in f32, exp overflows above
        ${v("limit", say(limit))}. But subtracting the same number from all scores doesn’t change the output. So kernels
        first subtract the largest score <var>m</var>, and then no exponent is above 0.
      </p>
      <p>
        The largest score is known only at the end. So keep three running values: the maximum <var>m</var>, the sum of
        weights <var>ℓ</var>, and the weighted sum of the values. When a new score raises the maximum, multiply both sums
        by exp(<var>m</var><sub>before</sub> − <var>m</var><sub>now</sub>):
      </p>
      <p class="formula">
        <var>m</var>′ = max(<var>m</var>, <var>s<sub>j</sub></var>), &ensp;
        <var>ℓ</var>′ = <var>ℓ</var> exp(<var>m</var> − <var>m</var>′) + exp(<var>s<sub>j</sub></var> − <var>m</var>′)
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          One query and ${KEYS} keys, read one after another
          <small>Dots are scores, the line is the maximum so far, and bars are the weights at this point.</small>
        </figcaption>
        ${draw("read", "shift", "seed")}
        ${columns(reads, i)}
        ${table(reads, i)}
        <p>
          After ${v("read", String(state.read))} of ${KEYS} keys: LSE ${v(`lse.${i}`, say(now.lse))}, first element of
          the output ${v(`out.${i}`, say(now.out))}. float64 attention over all ${KEYS} keys: LSE
          ${v("exact.lse", say(exact.lse))}, output ${v("exact.out", say(exact.out))}.
        </p>
      </figure>
      <p>
        Key ${v("read", String(state.read))} has the score ${v(`score.${i}`, say(now.score))}.
        ${i === 0
          ? html`It is the first key, so this is the maximum.`
          : grew
          ? html`This is the new maximum. Both sums are multiplied by ${
            v(`rescale.${i}`, say(now.rescale))
          }, and the sum
              of weights becomes ${v(`sum.${i}`, say(now.sum))}.`
          : html`The maximum stays at ${v(`max.${i}`, say(now.max))}, so nothing is rescaled. The key adds the weight
              ${v(`weight.${i}`, say(now.weight))}, and the sum becomes ${v(`sum.${i}`, say(now.sum))}.`}
        The two numbers <var>m</var> and <var>ℓ</var> are often kept as one, the logarithm of the sum of exponentials:
        LSE = <var>m</var> + log <var>ℓ</var> = ${v(`lse.${i}`, say(now.lse))}. At any point, the weighted sum of the
        values divided by <var>ℓ</var> is the exact attention over the keys read so far. All later chapters build on
        that.
      </p>
      <h3>What goes wrong</h3>
      <p>
        Add ${v("shift", say(state.shift))} to every score: the output must not change. With the running maximum, it is
        ${v("exact.out", say(reads[KEYS - 1].out))}. Without it, in f32, the sum of exponentials is
        ${v("naive.sum", say(naive.sum))} and the output is
        ${Number.isFinite(naive.out)
          ? v("naive.out", say(naive.out))
          : html`<b class="v wrong" data-v="naive.out">${say(naive.out)}</b>`}.
        ${Number.isNaN(naive.out)
          ? state.shift > 0
            ? "Infinity divided by infinity: one overflow spoils the row."
            : "Zero divided by zero: every weight underflowed."
          : "Move the slider to either end to see it fail. The scores of real models don’t stay this small."}
      </p>
      <p>
        The method is by Milakov and Gimelshein (2018), and it is the core of FlashAttention. Every kernel of this page
        uses it. The shaders start from a large negative maximum instead of −∞, because WGSL may assume that infinities
        don’t occur.
      </p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: 1, T: 256, P: 0, seed: state.seed, variant: "pass-kv" },
      "One rank: the kernel alone, checked row by row against float64.",
    ),
  ],
};

function columns(reads: readonly Read[], i: number): TemplateResult {
  const scores = reads.map(({ score }) => score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const up = (score: number) => 8 + (84 * (score - low)) / Math.max(1e-9, high - low);
  return html`<div class="keys" style="--n:${reads.length}" aria-hidden="true">${
    reads.map(({ score, max }, j) => {
      const state = j === i ? "now" : j > i ? "later" : "";
      // Earlier keys too are weighed against the current maximum.
      const weight = j > i ? 0 : Math.exp(score - reads[i].max);
      return html`<div class=${state}>
      <div class="plot"><i class="dot" data-v="score.${j}" style="bottom:${up(score)}%"></i>${
        j > i ? nothing : html`<i class="max" data-v="max.${j}" style="bottom:${up(max)}%"></i>`
      }</div>
      <div class="plot low"><i class="bar" data-v="held.${j}" style="height:${100 * weight}%"></i></div>${j + 1}</div>`;
    })
  }</div>`;
}

const WHAT = ["max", "rescale", "weight", "sum", "lse", "out"] as const;

function table(reads: readonly Read[], i: number): TemplateResult {
  return html`
    <ringside-scroll label="Running values after each key">
      <table>
        ${heads("Key", "Score", "Maximum m", "Rescale", "Weight", "Sum ℓ", "LSE", "Output", "Weight now")}
        <tbody>${reads.map((read, j) =>
          html`
            <tr class=${j === i ? "now" : j > i ? "later" : ""}>
              <th scope="row">${j + 1}</th>
              ${value(`score.${j}`, say(read.score))}
              ${j > i ? [...WHAT, "held"].map(() => html`<td></td>`) : [
                ...WHAT.map((what) => value(`${what}.${j}`, say(read[what]))),
                html`<td>${lit(`held.${j}`, say(Math.exp(read.score - reads[i].max)))}</td>`,
              ]}
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}
