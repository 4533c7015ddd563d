/** Chapter 1: softmax with a running maximum. */
import { html, nothing, type TemplateResult } from "lit";
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

/** What a chapter is. */
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
      <p
        class="lead">Attention weighs values by a softmax of scores. To spread it over many machines, each must be able to work with a part of the keys. It begins with a softmax that reads its scores one at a time.</p>
      <p>For one query row <var>q</var>, key <var>j</var> has the score <var>s<sub>j</sub></var> = <var>q</var>·<var>k<sub>j</sub></var>/√<var>D</var>, where <var>D</var> is the head dimension. The output is the mean of the value rows <var>v<sub>j</sub></var> with weights exp(<var>s<sub>j</sub></var>), divided by their sum. Nobody computes it so: in f32, exp overflows above ${v(
        "limit",
        say(limit),
      )}. Subtracting one number from all scores changes no weight, so the largest score <var>m</var> is subtracted first, and every exponent is at most 0.</p>
      <p>The largest score is known only at the end. So keep a running one, and three things in all: the maximum <var>m</var>, the sum of weights <var>ℓ</var>, and the weighted sum of values. When a new score raises the maximum, what is held is multiplied by exp(<var>m</var><sub>before</sub> − <var>m</var><sub>now</sub>):</p>
      <p
        class="formula"><var>m</var>′ = max(<var>m</var>, <var>s<sub>j</sub></var>), &ensp; <var>ℓ</var>′ = <var>ℓ</var> exp(<var>m</var> − <var>m</var>′) + exp(<var>s<sub>j</sub></var> − <var>m</var>′)</p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">One query, ${KEYS} keys, read one after the other <small>Dots are scores, the line is the maximum so far, bars are the weights as they are held now.</small></figcaption>
        ${draw("read", "shift", "seed")}
        ${columns(reads, i)}
        ${table(reads, i)}
        <p>After ${v("read", String(state.read))} of ${KEYS} keys: LSE ${v(
          `lse.${i}`,
          say(now.lse),
        )}, first element of the output ${v(
          `out.${i}`,
          say(now.out),
        )}. float64 attention over all ${KEYS} keys: LSE ${v("exact.lse", say(exact.lse))}, output ${v(
          "exact.out",
          say(exact.out),
        )}.</p>
      </figure>
      <p>Key ${v("read", String(state.read))} has the score ${v(`score.${i}`, say(now.score))}. ${i === 0
        ? html`It is the first, so it is the maximum.`
        : grew
        ? html`It is the new maximum. All that was held shrinks by ${
          v(`rescale.${i}`, say(now.rescale))
        }; the sum becomes ${v(`sum.${i}`, say(now.sum))}.`
        : html`The maximum stays ${v(`max.${i}`, say(now.max))}, nothing is rescaled, and ${
          v(`weight.${i}`, say(now.weight))
        } is added: the sum is ${v(`sum.${i}`, say(now.sum))}.`}
        The two numbers <var>m</var> and <var>ℓ</var> are often kept as one, the logarithm of the sum of exponentials: LSE = <var>m</var> + log <var>ℓ</var> = ${v(
          `lse.${i}`,
          say(now.lse),
        )}. Divided by its sum, the output after any number of keys is the exact attention over the keys read so far. All later chapters rest on that.</p>
      <h3>What goes wrong</h3>
      <p>Add ${v(
        "shift",
        say(state.shift),
      )} to every score: the weights must not change. With the running maximum the output is ${v(
        "exact.out",
        say(reads[KEYS - 1].out),
      )}. Without it, in f32, the sum of exponentials is ${v(
        "naive.sum",
        say(naive.sum),
      )} and the output ${Number.isFinite(naive.out)
        ? v("naive.out", say(naive.out))
        : html`<b class="v wrong" data-v="naive.out">${say(naive.out)}</b>`}. ${Number.isNaN(naive.out)
        ? state.shift > 0
          ? "Infinity divided by infinity: one overflow spoils the row."
          : "Zero divided by zero: everything underflowed."
        : "Move the slider to an end to see it fail. Scores of real models do not stay as small as these."}</p>
      <p>The method is from Milakov and Gimelshein (2018), and is the core of FlashAttention. Every kernel of this page works so; a shader starts from a large negative maximum in place of −∞, since WGSL may assume that infinities do not occur.</p>
    `;
  },
  onward: (
    { state },
  ) => [
    inLab(
      { N: 1, T: 256, P: 0, seed: state.seed, variant: "pass-kv" },
      "One rank: the kernel alone, checked against float64 row by row.",
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
      // What a key read earlier weighs now: against the maximum of now.
      const weight = j > i ? 0 : Math.exp(score - reads[i].max);
      return html`<div class=${state}>
      <div class="plot"><i class="dot" data-v="score.${j}" style="bottom:${up(score)}%"></i>${
        j > i ? nothing : html`<i class="max" data-v="max.${j}" style="bottom:${up(max)}%"></i>`
      }</div>
      <div class="plot low"><i class="bar" data-v="held.${j}" style="height:${100 * weight}%"></i></div>${j + 1}</div>`;
    })
  }</div>`;
}

function table(reads: readonly Read[], i: number): TemplateResult {
  return html`
    <ringside-scroll label="What is held after each key">
      <table>
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Score</th>
            <th scope="col">Maximum m</th>
            <th scope="col">Rescale</th>
            <th scope="col">Weight</th>
            <th scope="col">Sum ℓ</th>
            <th scope="col">LSE</th>
            <th scope="col">Output</th>
            <th scope="col">Held now</th>
          </tr>
        </thead>
        <tbody>${reads.map((read, j) =>
          html`
            <tr
              class=${j === i ? "now" : j > i ? "later" : ""}><th scope="row">${j +
                1}</th><td><span data-v="score.${j}">${say(read.score)}</span></td>${j > i
                ? html`
                  <td></td>
                  <td></td>
                  <td></td>
                  <td></td>
                  <td></td>
                  <td></td>
                  <td></td>
                `
                : (["max", "rescale", "weight", "sum", "lse", "out"] as const).map((what) =>
                  html`<td><span data-v="${what}.${j}">${say(read[what])}</span></td>`
                )}${j > i
                ? nothing
                : html`<td><span data-v="held.${j}">${say(Math.exp(read.score - reads[i].max))}</span></td>`}</tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}
