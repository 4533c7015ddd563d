/** Chapter 5: the ring, pass-KV. */
import { html } from "lit";
import { exposure, hiddenKv } from "../../../engine/learn.ts";
import {
  formatBytes,
  formatCount,
  formatError,
  formatRate,
  formatShare,
  formatTime,
} from "../../../lib/format/format.ts";
import "../../../lib/elements/scroll.ts";
import "../../../lib/timeline/timeline.ts";
import { type Chapter, choice, range, slider, v } from "../chapter.ts";
import { last } from "../memo.ts";
import { settingOf, type Simulated, simulated } from "../models/cluster.ts";
import { type RingRun, ringRun } from "../models/ring.ts";
import { inLab, inPlanner } from "../onward.ts";
import { plural, say } from "../say.ts";
import { ringFigure, schedule } from "./ring-figure.ts";

/** Tokens of the small run. */
const [FRESH, CACHED] = [48, 16];

const controls = {
  ranks: slider("Ranks N", range(2, 8), 4),
  hop: slider("Hop", ({ ranks }) => range(0, Number(ranks) - 1), 1),
  rank: slider("Rank to follow", ({ ranks }) => range(0, Number(ranks) - 1), 2),
  fresh: slider(
    "New tokens T",
    [500, 1000, 2000, 3000, 4000, 6400, 8000, 12_800, 16_000, 32_000, 64_000, 128_000],
    3000,
    formatCount,
  ),
  cached: slider("Cached tokens P", [0, 8000, 32_000, 64_000, 125_000, 250_000, 1_000_000], 125_000, formatCount),
  fabric: choice("Network of a GPU", { gtt: "RDMA, 400 Gb/s", gti: "TCP, 100 Gb/s" }, "gtt"),
};

/** A small real run, and a large one in virtual time. */
export interface PassKv {
  readonly run: RingRun;
  readonly large: Simulated;
}

const run = last((ranks: number) => ringRun(5, ranks, FRESH, CACHED, "pass-kv"));
const large = last((fabric: "gtt" | "gti", ranks: number, fresh: number, cached: number) =>
  simulated(settingOf(fabric, ranks, fresh, cached), "pass-kv")
);

/** Algorithm 2 and Eq. 2. */
export const passKv: Chapter<typeof controls, PassKv> = {
  id: "ring",
  title: "The ring: pass-KV",
  controls,
  model: async ({ ranks, fabric, fresh, cached }) => ({
    run: await run(ranks),
    large: await large(fabric, ranks, fresh, cached),
  }),
  render({ model, state, controls: draw }) {
    const { ranks, hop, rank, fresh, cached, fabric } = state;
    const { meetings, last: lasts, out, message } = model.run;
    const mine = meetings.filter((m) => m.rank === rank);
    const now = mine[hop];
    const exact = lasts[rank];
    const setting = settingOf(fabric, ranks, fresh, cached);
    const e = exposure(setting);
    const border = hiddenKv(setting);
    const hidden = e.exposedKv === 0;
    return html`
      <p
        class="lead">Each rank has queries that must meet all keys, and keys that lie on all ranks. Pass-KV lets the queries stay and sends the keys and values round.</p>
      <p>The <var>N</var> ranks form a ring. At hop 0 a rank attends to its own KV chunk. At each further hop it passes the chunk it has to the next rank and receives one from the rank before. So at hop <var>j</var>, rank <var>k</var> has the chunk that rank <var>s</var> = (<var>k</var> − <var>j</var>) mod <var>N</var> held first. After <var>N</var> hops and <var>N</var> − 1 transfers every query has met every key, and each rank merges its <var>N</var> partial results by Eq. 4 (chapter 3). That merge is local. This is the paper’s Algorithm 2.</p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">A run of ${ranks} ranks, computed in this page <small>${FRESH} new and ${CACHED} cached tokens, one head; hover a chunk to see where it goes.</small></figcaption>
        ${draw("ranks", "hop", "rank")}
        <div class="pair">
          ${ringFigure(meetings, ranks, hop, "KV")}
          <ringside-scroll label="Chunk at each rank and hop">${schedule(meetings, ranks, hop, "KV")}</ringside-scroll>
        </div>
        <ringside-scroll label="Last token of rank ${rank}, hop by hop"><table>
          <caption>Token ${exact.token}, the last of rank ${rank}, hop by hop <small>merged so far</small></caption>
          <thead><tr><th scope="col">Hop</th><th scope="col">KV of rank</th><th scope="col">Keys seen</th><th scope="col">LSE</th><th scope="col">Output</th><th scope="col">Pairs of all rows</th></tr></thead>
          <tbody>${mine.map(({ hop: j, owner, keys, lse, out: first, pairs }) =>
            html`
              <tr class=${j === hop ? "now" : j > hop ? "later" : ""}>
                <th scope="row">${j}</th>
                <td><span data-v="owner.${owner}">${owner}</span></td>
                <td>${keys}</td>
                <td><span data-v="lse.${j}">${say(lse)}</span></td>
                <td><span data-v="out.${j}">${say(first)}</span></td>
                <td>${pairs}</td>
              </tr>
            `
          )}
          <tr class="sum"><th scope="row">float64</th><td></td><td>${exact.token +
            1}</td><td><span data-v="exact.lse">${say(exact.lse)}</span></td><td><span data-v="exact.out">${say(
              exact.out,
            )}</span></td><td></td></tr></tbody>
        </table></ringside-scroll>
        <p>Largest error of any element of any rank’s output: ${v("error", formatError(out.max))}. A message is ${v(
          "message",
          formatBytes(message),
        )} of f32.</p>
      </figure>
      <p>At hop ${v("hop", String(hop))} rank ${v("rank", String(rank))} has the chunk of rank ${v(
        `owner.${now.owner}`,
        String(now.owner),
      )}. Its last token is at position ${v("token", String(exact.token))} and sees ${v(
        "keys",
        plural(now.keys, "key"),
      )} of it. Its LSE is now ${v(`lse.${hop}`, say(now.lse))}; float64 over all keys says ${v(
        "exact.lse",
        say(exact.lse),
      )}. ${hop === ranks - 1
        ? "This was the last hop, and they agree."
        : "LSE only grows: every chunk adds weight."}</p>
      <h3>Hiding the transfer</h3>
      <p>A rank starts to send its chunk before it attends to it. While attention runs, the next chunk arrives, so a transfer costs time only where it takes longer than the attention beside it. That part is called exposed. Attention grows with <var>T</var>(<var>T</var>+<var>P</var>), the KV message only with <var>T</var>+<var>P</var>. So <var>T</var> decides, and <var>P</var> does not. With <var>C</var> the attention rate of a rank, BW the bandwidth of its link, <var>N</var><sub>H</sub> and <var>N</var><sub>KV</sub> the numbers of query and KV heads and <var>e</var> the bytes of an element, pass-KV is hidden from here on (Eq. 2):</p>
      <p
        class="formula"><var>T</var> ≥ <var>N</var> <var>C</var> <var>N</var><sub>KV</sub> <var>e</var> / (2 <var>N</var><sub>H</sub> BW) = ${v(
          "ranks",
          String(ranks),
        )} · ${v("C", `${formatCount(setting.flops / 1e12)} TFLOP/s`)} · ${setting.kvHeads} · ${setting
          .bytes} / (2 · ${setting.heads} · ${v("BW", formatRate(setting.bandwidth))}) = ${v(
            "border",
            `${formatCount(border)} tokens`,
          )}</p>
      <figure aria-labelledby="overlap">
        <figcaption id="overlap">One layer of Llama 3 405B on ${plural(
          ranks,
          "host",
        )}, in virtual time <small>The engine’s ring program over a simulated cluster: one of eight GPUs of each host (${setting
          .heads} query heads, ${setting
          .kvHeads} KV head), peak rates, no latency. All ranks are alike; two are drawn.</small></figcaption>
        ${draw("fresh", "cached", "ranks", "fabric")}
        <ringside-timeline .heading=${`pass-KV: ${formatTime(model.large.end)} a layer`} .spans=${model.large
          .spans} .ranks=${ranks} .shown=${Math.min(ranks, 2)}></ringside-timeline>
        <ringside-scroll label="Attention and transfer at each hop"><table><thead><tr><th scope="col">At each hop</th><th scope="col">Amount</th><th scope="col">Time</th><td></td></tr></thead><tbody>
          <tr><th scope="row">Attention</th><td>${formatCount(fresh / ranks)} × ${formatCount(
            (fresh + cached) / ranks,
          )} pairs</td><td><span data-v="attend">${formatTime(e.attend)}</span></td>${bar(
            e.attend,
            e.attend,
            e.sendKv,
            "attend",
          )}</tr>
          <tr><th scope="row">KV message</th><td><span data-v="kv">${formatBytes(
            e.kvBytes,
          )}</span></td><td><span data-v="send">${formatTime(e.sendKv)}</span></td>${bar(
            e.sendKv,
            e.attend,
            e.sendKv,
            "send",
            "transfer",
          )}</tr>
          <tr class="sum"><th scope="row">Exposed, all hops</th><td>${plural(
            ranks - 1,
            "transfer",
          )}</td><td><span data-v="exposed">${formatTime(e.exposedKv)}</span></td><td></td></tr>
        </tbody></table></ringside-scroll>
      </figure>
      <p>With <var>T</var> = ${v("fresh", formatCount(fresh))} and <var>P</var> = ${v(
        "cached",
        formatCount(cached),
      )}, a hop’s attention takes ${v("attend", formatTime(e.attend))} and its message of ${v(
        "kv",
        formatBytes(e.kvBytes),
      )} takes ${v("send", formatTime(e.sendKv))}. ${hidden
        ? html`<var>T</var> reaches Eq. 2’s ${
          v("border", formatCount(border))
        }, so the ring costs nothing beyond attention.`
        : html`<var>T</var> is under Eq. 2’s ${v("border", formatCount(border))}: over ${
          v("transfers", plural(ranks - 1, "transfer"))
        } the ranks wait ${v("exposed", formatTime(e.exposedKv))}, ${
          v("share", formatShare(e.exposedKv / model.large.end))
        } of the layer’s attention.`} Move <var>P</var>: both times grow together.</p>
      <p>Peak rates are where the paper starts too. What a cluster achieves is lower, and the border moves with <var>C</var>/BW. Why a ring and not one all-gather of KV before attention? An all-gather stands on the critical path and is hard to overlap when lengths vary; the ring’s steps are smaller, and run beside attention.</p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: state.ranks, T: 512, P: 512, variant: "pass-kv", link: { bandwidth: 3e6, latency: 0.001 } },
      "Real ranks and links slow enough to see: hatched time is exposed.",
    ),
    inPlanner(
      { cp: state.ranks, new: state.fresh, cached: state.cached, fabric: state.fabric, variant: "pass-kv" },
      `${formatCount(state.fresh)} new and ${formatCount(state.cached)} cached tokens on ${
        plural(state.ranks, "host")
      }, with achieved rates and everything that a layer does beside attention.`,
    ),
  ],
};

function bar(value: number, a: number, b: number, key: string, kind = "attend") {
  return html`
    <td
      class="meter"><i aria-hidden="true" data-v=${key} style="width:${(100 * value) /
        Math.max(a, b)}%;--fill:var(--${kind})"></i></td>
  `;
}
