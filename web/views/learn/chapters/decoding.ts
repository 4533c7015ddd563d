/** Chapter 7: decode and conversations. */
import { html, type TemplateResult } from "lit";
import { TABLE_7 } from "../../../engine/learn.ts";
import { formatCount, formatError, formatTime } from "../../../lib/format/format.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import "../../../lib/elements/scroll.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { CONTEXT, type Room } from "../models/capacity.ts";
import { TP } from "../models/cluster.ts";
import type { Step } from "../models/conversation.ts";
import { inConversation, inPlanner } from "../onward.ts";
import { plural } from "../say.ts";

const stepsIn = ({ turns, reply }: Readonly<Record<string, number | string>>) => Number(turns) * (1 + Number(reply));

const controls = {
  ranks: slider("Ranks N", range(2, 6), 4),
  turns: slider("Turns", range(1, 3), 2),
  prompt: slider("Prompt, tokens", [9, 16, 21, 32], 21),
  reply: slider("Reply, tokens", [1, 4, 9, 14], 9),
  step: slider("Steps done", (state) => range(1, stepsIn(state)), 15),
};

/** A conversation step by step, and the planner's figures of decode. */
export interface Decoding {
  readonly steps: readonly Step[];
  readonly rooms: readonly Room[];
}

/** Algorithm 4 and the persistent cache. */
export const decoding: Chapter<typeof controls, Decoding> = {
  id: "decode",
  title: "Decode and conversations",
  controls,
  model: async ({ ranks, turns, prompt, reply }, slow) => {
    const [steps, rooms] = await Promise.all([slow.conversation(7, ranks, turns, prompt, reply), slow.rooms()]);
    return { steps, rooms };
  },
  render({ model, state, controls: draw }) {
    const { ranks, step } = state;
    const done = model.steps.slice(0, step);
    const now = done[done.length - 1];
    const total = now.cached + now.fresh;
    const most = Math.max(...now.fixed, ...now.held);
    const spread = (held: readonly number[]) => Math.max(...held) - Math.min(...held);
    const worst = Math.max(...done.map(({ error }) => error));
    const idle = now.rows - now.fresh;
    const [alone, two] = model.rooms;
    const all = model.rooms[model.rooms.length - 1];
    return html`
      <p
        class="lead">After the prompt comes the reply, one token at a time, and after the reply the next prompt. What the ranks computed stays where it is: each keeps its part of the keys and values.</p>
      <p>A decode step has one new token a sequence. Its query must meet all cached keys, which lie on all ranks. One query row is far smaller than the cache, so decode is always pass-Q: Algorithm 4 sends the queries of a batch round the ring with the ids of their sequences, each rank attends to its own part of those sequences’ KV, and an All2All takes the partial results home.</p>
      <p>The new token’s key and value must be kept by some rank. If one rank kept them all, its cache would grow with every reply and be full while the others have room. So the ranks take turns: the sequences of a batch are dealt to the ranks in a circle, and the deal shifts by one each step. Here a token goes to a rank that holds fewest of its sequence, which keeps to the same circle and also repairs what prompts left uneven.</p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">A conversation on ${ranks} ranks, computed in this page <small>One sequence, one head. Bars are tokens in each rank’s cache, and every step’s output is compared with float64.</small></figcaption>
        ${draw("ranks", "turns", "prompt", "reply", "step")}
        ${story(model.steps, step, ranks)}
        <ringside-scroll label="Tokens on each rank"><table>
          <caption>Tokens on each rank after ${plural(step, "step")}</caption>
          <thead><tr><th scope="col">Rank</th><th scope="col">Taking turns</th><td></td><th scope="col">One owner</th><td></td></tr></thead>
          <tbody>${now.held.map((n, k) =>
            html`<tr><th scope="row"><span class="disc" style="background:${rankColour(k, ranks)};color:${
              onRankColour(k, ranks)
            }">${k}</span></th><td><span data-v="held.${k}">${n}</span></td>${
              meter(n, most, k, ranks, `held.${k}`)
            }<td><span data-v="fixed.${k}">${now.fixed[k]}</span></td>${
              meter(now.fixed[k], most, k, ranks, `fixed.${k}`)
            }</tr>`
          )}
          <tr class="sum"><th scope="row">Fullest less emptiest</th><td><span data-v="spread">${spread(
            now.held,
          )}</span></td><td></td><td><span data-v="spread.fixed">${spread(now.fixed)}</span></td><td></td></tr></tbody>
        </table></ringside-scroll>
        <p>Largest error of the output in ${plural(step, "step")}: ${v("error", formatError(worst))}.</p>
      </figure>
      <p>Step ${v("step", String(step))} is ${now.mode === "prefill"
        ? html`the prefill of turn ${now.turn + 1}: <var>T</var> = ${
          v("T", String(now.fresh))
        } tokens after <var>P</var> = ${
          v("P", String(now.cached))
        } cached ones. The prompt is sharded head-tail as in chapter 4, but the larger shares go to the ranks that hold fewer.`
        : html`a decode step of turn ${now.turn + 1}: <var>T</var> = ${v("T", "1")} token after <var>P</var> = ${
          v("P", String(now.cached))
        }. Its key and value go to rank ${v("owner", String(now.owner))}.`} The cache now holds ${v(
          "total",
          formatCount(total),
        )} tokens, and no two ranks differ by more than ${v(
          "spread",
          String(spread(now.held)),
        )}. With head-tail prompts and one owner for all replies they would differ by ${v(
          "spread.fixed",
          String(spread(now.fixed)),
        )}, and the fullest rank would set the size of every padded message.</p>
      <h3>What goes wrong: one token is not enough work</h3>
      <p>The ring needs the same number of queries on every rank, so they are padded to a multiple of <var>N</var>. ${idle ===
          0
        ? html`In this step nothing is padded.`
        : html`This step computes ${v("rows", plural(now.rows, "query row"))} for ${
          v("T", plural(now.fresh, "token"))
        }.`} Each hop attends to a part of the cache in microseconds, which hides no transfer, and the All2All comes on top. More ranks make a decode step slower, not faster. The planner’s figures for Llama 3 405B, one sequence of ${formatCount(
          CONTEXT,
        )} tokens, on the paper’s hosts of eight GPUs:</p>
      <figure aria-labelledby="rooms">
        <figcaption
          id="rooms">Decode and room for KV <small>TTIT is the time to each further token. Measured is the paper’s Table 7, for the layouts that it has. Room is the tokens of KV cache that fit beside the weights.</small></figcaption>
        <ringside-scroll label="Decode and room for KV">
          <table>
            <thead>
              <tr>
                <th scope="col">Hosts</th>
                <th scope="col">TTIT</th>
                <td></td>
                <th scope="col">Measured</th>
                <th scope="col">Room, tokens</th>
                <td></td>
              </tr>
            </thead>
            <tbody>${model.rooms.map(({ ranks: hosts, ttit, tokens }) =>
              html`<tr><th scope="row">CP${hosts}</th><td><span data-v="ttit.${hosts}">${formatTime(ttit)}</span></td>${
                plain(ttit, Math.max(...model.rooms.map((r) => r.ttit)), `ttit.${hosts}`)
              }<td><span data-v="measured.${hosts}">${paper(hosts)}</span></td><td><span data-v="room.${hosts}">${
                formatCount(tokens)
              }</span></td>${plain(tokens, all.tokens, `room.${hosts}`)}</tr>`
            )}</tbody>
          </table>
        </ringside-scroll>
      </figure>
      <p>One host takes ${v("ttit.1", formatTime(alone.ttit))} a token and two take ${v(
        "ttit.2",
        formatTime(two.ttit),
      )}; the paper measured ${v("measured.1", paper(1))} and ${v(
        "measured.2",
        paper(2),
      )}. In return room grows with the ranks: ${v("room.1", formatCount(alone.tokens))} tokens on one host, ${v(
        `room.${all.ranks}`,
        formatCount(all.tokens),
      )} on ${all
        .ranks}. The paper’s advice follows: context parallelism is for prefill, and for caches that fit nowhere else; a serving system that separates prefill from decode can use each where it is good.</p>
      <h3>A conversation in the paper’s letters</h3>
      <p>The first prompt is a full prefill: <var>P</var> = 0, miss rate 1, pass-KV. Each further prompt is a partial prefill with <var>P</var> growing and <var>T</var> small, where Algorithm 5 decides anew each time (chapter 6). Each token of the reply is a decode step. All of it runs on one cache that is dealt once and never moved.</p>
    `;
  },
  onward: ({ state }) => [
    inConversation(
      state.ranks,
      Array.from({ length: state.turns }, () => [{ prompt: state.prompt, reply: state.reply }]),
      `${plural(state.turns, "turn")} of ${state.prompt} and ${state.reply} tokens on ${
        plural(state.ranks, "rank")
      }: the same turns on real ranks, with the choice, the caches and the timeline of each step.`,
    ),
    inPlanner(
      { step: "decode", cp: state.ranks, cached: CONTEXT, variant: "pass-q" },
      `Decode at ${formatCount(CONTEXT)} tokens on ${plural(state.ranks, "host")}.`,
    ),
  ],
};

/** The paper's TTIT on hosts of its own. */
function paper(hosts: number): string {
  const row = TABLE_7.find(({ cp, tp }) => cp === hosts && tp === TP);
  return row === undefined ? "–" : formatTime(row.ttit / 1e3);
}

/** The steps as a strip: a prefill as wide as its tokens, a decoded token in the colour of its rank. */
function story(steps: readonly Step[], done: number, ranks: number): TemplateResult {
  return html`<div class="whole" role="img" aria-label="Steps: ${
    steps.map((s, i) => `${i + 1} ${s.mode === "prefill" ? `prefill of ${s.fresh}` : `decode on rank ${s.owner}`}`)
      .join(", ")
  }. ${done} are done.">${
    steps.map((s, i) => {
      const look = i >= done
        ? ""
        : s.mode === "prefill"
        ? "background:var(--attend);color:var(--paper)"
        : `background:${rankColour(s.owner!, ranks)};color:${onRankColour(s.owner!, ranks)}`;
      return html`<div class=${i === done - 1 ? "current" : ""} style="flex:${
        s.mode === "prefill" ? 4 : 1
      } 0 0;${look}">${s.mode === "prefill" ? `${s.fresh}` : s.owner}</div>`;
    })
  }</div>`;
}

function meter(value: number, most: number, rank: number, ranks: number, key: string): TemplateResult {
  return html`<td class="meter"><i aria-hidden="true" data-v=${key} style="width:${(100 * value) / most}%;--fill:${
    rankColour(rank, ranks)
  }"></i></td>`;
}

function plain(value: number, most: number, key: string): TemplateResult {
  return html`<td class="meter"><i aria-hidden="true" data-v=${key} style="width:${(100 * value) / most}%"></i></td>`;
}
