/** Chapter 7: decode and conversations. */
import { html, type TemplateResult } from "lit";
import { TABLE_7 } from "../../../engine/learn.ts";
import { disc } from "../../../lib/elements/disc.ts";
import { formatCount, formatError, formatTime } from "../../../lib/format/format.ts";
import { onRankColour, rankColour } from "../../../lib/format/palette.ts";
import "../../../lib/elements/scroll.ts";
import { heads, meter, value } from "../cells.ts";
import { type Chapter, range, slider, v } from "../chapter.ts";
import { CONTEXT, type Room } from "../models/capacity.ts";
import { TP } from "../models/cluster.ts";
import type { ConversationStep } from "../models/conversation.ts";
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
  readonly steps: readonly ConversationStep[];
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
    const worst = Math.max(...done.map(({ error }) => error));
    const [alone, two] = model.rooms;
    const all = model.rooms[model.rooms.length - 1];
    return html`
      <p class="lead">
        After the prompt comes the reply, one token at a time, and then the next prompt. Nothing that the ranks computed
        moves: each rank keeps its part of the keys and values.
      </p>
      <p>
        A decode step has one new token per sequence. Its query must meet all cached keys, which lie on all ranks. One
        query row is far smaller than the cache, so decode is always pass-Q. In Algorithm 4, the queries of a batch go
        round the ring with the ids of their sequences. Each rank attends to its own part of those sequences’ KV, and an
        All2All takes the partial results home.
      </p>
      <p>
        Some rank must keep the new token’s key and value. If one rank kept them all, its cache would grow with every
        reply and fill up while the others have room. So the ranks take turns. The paper deals the sequences of a batch
        to the ranks in a circle and shifts the deal by one each step. Here, a token goes to a rank that holds the fewest
        tokens of its sequence. This follows the same circle, and also evens out what prompts left uneven.
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          A conversation on ${ranks} ranks, computed in this page
          <small>
            One sequence, one head. Bars are the tokens in each rank’s cache. The output of every step is compared with
            float64.
          </small>
        </figcaption>
        ${draw("ranks", "turns", "prompt", "reply", "step")}
        ${story(model.steps, step, ranks)}
        ${heldTable(now, step)}
        <p>Largest error of the output in ${plural(step, "step")}: ${v("error", formatError(worst))}.</p>
      </figure>
      <p>
        Step ${v("step", String(step))} is
        ${now.mode === "prefill"
          ? html`the prefill of turn ${now.turn + 1}: <var>T</var> = ${v("T", String(now.fresh))} tokens after
              <var>P</var> = ${v("P", String(now.cached))} cached ones. The prompt is sharded head-tail as in chapter 4,
              but ranks that hold fewer tokens get larger shares.`
          : html`a decode step of turn ${now.turn + 1}: <var>T</var> = ${v("T", "1")} token after <var>P</var> =
              ${v("P", String(now.cached))}. Its key and value go to rank ${v("owner", String(now.owner))}.`}
        The cache now holds ${v("total", formatCount(total))} tokens, and no two ranks differ by more than
        ${v("spread", String(spread(now.held)))}. With head-tail prompts and one owner for all replies, they would
        differ by ${v("spread.fixed", String(spread(now.fixed)))}, and the fullest rank would set the size of every
        padded message.
      </p>
      <h3>What goes wrong: one token is not enough work</h3>
      <p>
        The ring needs the same number of queries on every rank, so they are padded to a multiple of <var>N</var>.
        ${now.rows === now.fresh
          ? html`In this step, nothing is padded.`
          : html`This step computes ${v("rows", plural(now.rows, "query row"))} for
              ${v("T", plural(now.fresh, "token"))}.`}
        Each hop attends to a part of the cache in microseconds, which hides no transfer. The All2All comes on top. So
        more ranks make a decode step slower, not faster.
      </p>
      <p>
        These are the planner’s figures for Llama 3 405B and one sequence of ${formatCount(CONTEXT)} tokens, on the
        paper’s hosts of eight GPUs:
      </p>
      <figure aria-labelledby="rooms">
        <figcaption id="rooms">
          Decode and room for KV
          <small>
            TTIT is the time to each further token. Measured is from the paper’s Table 7, for the layouts listed there.
            Room is how many tokens of KV cache fit beside the weights.
          </small>
        </figcaption>
        ${roomTable(model.rooms)}
      </figure>
      <p>
        One host takes ${v("ttit.1", formatTime(alone.ttit))} per token, and two take
        ${v("ttit.2", formatTime(two.ttit))}; the paper measured ${v("measured.1", paper(1))} and
        ${v("measured.2", paper(2))}. In return, room grows with the ranks: ${v("room.1", formatCount(alone.tokens))}
        tokens on one host, ${v(`room.${all.ranks}`, formatCount(all.tokens))} on ${all.ranks}.
      </p>
      <p>
        The paper’s advice follows. Context parallelism is for prefill, and for caches that fit nowhere else. A serving
        system that separates prefill from decode can use it for prefill alone.
      </p>
      <h3>A conversation in the paper’s letters</h3>
      <p>
        The first prompt is a full prefill: <var>P</var> = 0, miss rate 1, pass-KV. Each further prompt is a partial
        prefill, with a growing <var>P</var> and a small <var>T</var>. Algorithm 5 decides anew each time (chapter 6).
        Each token of the reply is a decode step. All of it runs on one cache, which is dealt once and never moved.
      </p>
    `;
  },
  onward: ({ state }) => [
    inConversation(
      state.ranks,
      Array.from({ length: state.turns }, () => [{ prompt: state.prompt, reply: state.reply }]),
      `The same on ${plural(state.ranks, "real rank")}: ${plural(state.turns, "turn")} with prompts of ` +
        `${plural(state.prompt, "token")} and replies of ${plural(state.reply, "token")}. ` +
        "Each step shows its choice of variant, its caches and its timeline.",
    ),
    inPlanner(
      { step: "decode", cp: state.ranks, cached: CONTEXT, variant: "pass-q" },
      `Decode at ${formatCount(CONTEXT)} tokens on ${plural(state.ranks, "host")}.`,
    ),
  ],
};

/** The TTIT that the paper measured on `hosts` hosts, or a dash. */
function paper(hosts: number): string {
  const row = TABLE_7.find(({ cp, tp }) => cp === hosts && tp === TP);
  return row === undefined ? "–" : formatTime(row.ttit / 1e3);
}

/** The steps as a strip: a prefill with its tokens, a decode step with its rank and in its colour. */
function story(steps: readonly ConversationStep[], done: number, ranks: number): TemplateResult {
  return html`<div class="whole" role="img" aria-label="Steps: ${
    steps.map((s, i) => `${i + 1} ${s.mode === "prefill" ? `prefill of ${s.fresh}` : `decode on rank ${s.owner}`}`)
      .join(", ")
  }. ${done} steps are done.">${
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

/** Tokens on each rank now, taking turns and with one owner for all replies. */
function heldTable(now: ConversationStep, step: number): TemplateResult {
  const ranks = now.held.length;
  const most = Math.max(...now.fixed, ...now.held);
  const bar = (key: string, tokens: number, k: number) => meter(key, tokens / most, rankColour(k, ranks));
  return html`
    <ringside-scroll label="Tokens on each rank">
      <table>
        <caption>Tokens on each rank after ${plural(step, "step")}</caption>
        ${heads("Rank", "Taking turns", "", "One owner", "")}
        <tbody>
          ${now.held.map((n, k) =>
            html`
              <tr>
                <th scope="row">${disc(k, ranks)}</th>
                ${value(`held.${k}`, n)}
                ${bar(`held.${k}`, n, k)}
                ${value(`fixed.${k}`, now.fixed[k])}
                ${bar(`fixed.${k}`, now.fixed[k], k)}
              </tr>
            `
          )}
          <tr class="sum">
            <th scope="row">Fullest less emptiest</th>
            ${value("spread", spread(now.held))}
            <td></td>
            ${value("spread.fixed", spread(now.fixed))}
            <td></td>
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Decode times and room for KV of all layouts. */
function roomTable(rooms: readonly Room[]): TemplateResult {
  const slowest = Math.max(...rooms.map(({ ttit }) => ttit));
  const most = rooms[rooms.length - 1].tokens;
  return html`
    <ringside-scroll label="Decode and room for KV">
      <table>
        ${heads("Hosts", "TTIT", "", "Measured", "Room, tokens", "")}
        <tbody>${rooms.map(({ ranks, ttit, tokens }) =>
          html`
            <tr>
              <th scope="row">CP${ranks}</th>
              ${value(`ttit.${ranks}`, formatTime(ttit))}
              ${meter(`ttit.${ranks}`, ttit / slowest)}
              ${value(`measured.${ranks}`, paper(ranks))}
              ${value(`room.${ranks}`, formatCount(tokens))}
              ${meter(`room.${ranks}`, tokens / most)}
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Tokens between the fullest and the emptiest rank. */
function spread(held: readonly number[]): number {
  return Math.max(...held) - Math.min(...held);
}
