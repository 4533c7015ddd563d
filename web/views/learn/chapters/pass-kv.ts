/** Chapter 5: the ring, pass-KV. */
import { html, type TemplateResult } from "lit";
import { type Exposure, exposure, hiddenKv } from "../../../engine/learn.ts";
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
import { heads, meter, value } from "../cells.ts";
import { type Chapter, choice, range, slider, v } from "../chapter.ts";
import { keepLast } from "../memo.ts";
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

const run = keepLast((ranks: number) => ringRun(5, ranks, FRESH, CACHED, "pass-kv"));
const layer = keepLast((fabric: "gtt" | "gti", ranks: number, fresh: number, cached: number) =>
  simulated(settingOf(fabric, ranks, fresh, cached), "pass-kv")
);

/** Algorithm 2 and Eq. 2. */
export const passKv: Chapter<typeof controls, PassKv> = {
  id: "ring",
  title: "The ring: pass-KV",
  controls,
  model: async ({ ranks, fabric, fresh, cached }) => ({
    run: await run(ranks),
    large: await layer(fabric, ranks, fresh, cached),
  }),
  render({ model, state, controls: draw }) {
    const { ranks, hop, rank, fresh, cached, fabric } = state;
    const { meetings, out, message } = model.run;
    const now = meetings.filter((m) => m.rank === rank)[hop];
    const exact = model.run.last[rank];
    const { large } = model;
    const setting = settingOf(fabric, ranks, fresh, cached);
    const e = exposure(setting);
    const border = hiddenKv(setting);
    return html`
      <p class="lead">
        Each rank’s queries must meet all keys, but the keys are spread over all ranks. In pass-KV, the queries stay and
        the keys and values go round.
      </p>
      <p>
        The <var>N</var> ranks form a ring. At hop 0, each rank attends to its own KV. At each further hop, it passes the
        KV it has to the next rank and receives other KV from the rank before. So at hop <var>j</var>, rank <var>k</var>
        has the KV that rank <var>s</var> = (<var>k</var> − <var>j</var>) mod <var>N</var> had first. After <var>N</var>
        hops and <var>N</var> − 1 transfers, every query has met every key. Each rank merges its <var>N</var> partial
        results by Eq. 4 (chapter 3), and needs no other rank for that. This is the paper’s Algorithm 2.
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          A run of ${ranks} ranks, computed in this page
          <small>${FRESH} new and ${CACHED} cached tokens, one head. Hover over a disc to follow its KV.</small>
        </figcaption>
        ${draw("ranks", "hop", "rank")}
        <div class="pair">
          ${ringFigure(meetings, ranks, hop, "KV")}
          <ringside-scroll label="KV at each rank and hop">${schedule(meetings, ranks, hop, "KV")}</ringside-scroll>
        </div>
        ${lastToken(model.run, rank, hop)}
        <p>
          Largest error of any element of any rank’s output: ${v("error", formatError(out.max))}. A message is
          ${v("message", formatBytes(message))} of f32.
        </p>
      </figure>
      <p>
        At hop ${v("hop", String(hop))}, rank ${v("rank", String(rank))} has the KV of rank
        ${v(`owner.${now.owner}`, String(now.owner))}. Its own last token is at position
        ${v("token", String(exact.token))} and sees ${v("keys", plural(now.keys, "key"))} of this KV. The token’s LSE is
        now ${v(`lse.${hop}`, say(now.lse))}; float64 over all keys gives ${v("exact.lse", say(exact.lse))}.
        ${hop === ranks - 1 ? "This was the last hop, and they agree." : "LSE can only grow: no hop takes weight away."}
      </p>
      <h3>Hiding the transfer</h3>
      <p>
        A rank starts to send its KV before it attends to it, so the next KV arrives while attention runs. A transfer
        costs time only if it takes longer than the attention beside it. The part that attention doesn’t hide is called
        exposed. Attention grows with <var>T</var>(<var>T</var>+<var>P</var>), the KV message only with
        <var>T</var>+<var>P</var>. So <var>T</var> decides, and <var>P</var> does not.
      </p>
      <p>
        Let <var>C</var> be the attention rate of a rank and BW the bandwidth of its link. Let
        <var>N</var><sub>H</sub> and <var>N</var><sub>KV</sub> be the numbers of query and KV heads, and <var>e</var> the
        bytes of an element. Then attention hides all of pass-KV’s transfers if (Eq. 2)
      </p>
      <p class="formula">
        <var>T</var> ≥ <var>N</var> <var>C</var> <var>N</var><sub>KV</sub> <var>e</var> / (2 <var>N</var><sub>H</sub> BW)
        = ${v("ranks", String(ranks))} · ${v("C", `${formatCount(setting.flops / 1e12)} TFLOP/s`)} ·
        ${setting.kvHeads} · ${setting.bytes} / (2 · ${setting.heads} · ${v("BW", formatRate(setting.bandwidth))})
        = ${v("border", `${formatCount(border)} tokens`)}
      </p>
      <figure aria-labelledby="overlap">
        <figcaption id="overlap">
          One layer of Llama 3 405B on ${plural(ranks, "host")}, in virtual time
          <small>
            The engine’s ring program on a simulated cluster, with peak rates and no latency: one of the eight GPUs of
            each host (${setting.heads} query heads, ${setting.kvHeads} KV head). All ranks are alike; two are drawn.
          </small>
        </figcaption>
        ${draw("fresh", "cached", "ranks", "fabric")}
        <ringside-timeline
          .heading=${`pass-KV: ${formatTime(large.end)} per layer`}
          .spans=${large.spans} .ranks=${ranks} .shown=${Math.min(ranks, 2)}
        ></ringside-timeline>
        ${hopTable(e, ranks, fresh, cached)}
      </figure>
      <p>
        With <var>T</var> = ${v("fresh", formatCount(fresh))} and <var>P</var> = ${v("cached", formatCount(cached))}, a
        hop’s attention takes ${v("attend", formatTime(e.attend))}. Its message of ${v("kv", formatBytes(e.kvBytes))}
        takes ${v("send", formatTime(e.sendKv))}.
        ${e.exposedKv === 0
          ? html`<var>T</var> reaches Eq. 2’s ${v("border", formatCount(border))}, so the ring costs nothing beyond
              attention.`
          : html`<var>T</var> is below Eq. 2’s ${v("border", formatCount(border))}. Over
              ${v("transfers", plural(ranks - 1, "transfer"))}, the ranks wait ${v("exposed", formatTime(e.exposedKv))},
              ${v("share", formatShare(e.exposedKv / large.end))} of the layer’s time.`}
        Move <var>P</var>, and both times grow together.
      </p>
      <p>
        The paper starts from peak rates too. A real cluster achieves less, and the border moves with <var>C</var>/BW.
      </p>
      <p>
        Why a ring, and not one all-gather of KV before attention? An all-gather is on the critical path and is hard to
        overlap when lengths vary. The ring’s steps are smaller and run beside attention.
      </p>
    `;
  },
  onward: ({ state }) => [
    inLab(
      { N: state.ranks, T: 512, P: 512, variant: "pass-kv", link: { bandwidth: 3e6, latency: 0.001 } },
      "Real ranks, with links slow enough to see. Hatched time is exposed.",
    ),
    inPlanner(
      { cp: state.ranks, new: state.fresh, cached: state.cached, fabric: state.fabric, variant: "pass-kv" },
      `${formatCount(state.fresh)} new and ${formatCount(state.cached)} cached tokens on ${
        plural(state.ranks, "host")
      }, with achieved rates and the rest of the layer’s work.`,
    ),
  ],
};

/** The last token of a rank, hop by hop. */
function lastToken({ meetings, last }: RingRun, rank: number, hop: number): TemplateResult {
  const { token, lse, out } = last[rank];
  return html`
    <ringside-scroll label="Last token of rank ${rank}, hop by hop">
      <table>
        <caption>Token ${token}, the last of rank ${rank}, hop by hop <small>merged so far</small></caption>
        ${heads("Hop", "KV of rank", "Keys seen", "LSE", "Output", "Pairs of all rows")}
        <tbody>
          ${meetings.filter((m) => m.rank === rank).map((m) =>
            html`
              <tr class=${m.hop === hop ? "now" : m.hop > hop ? "later" : ""}>
                <th scope="row">${m.hop}</th>
                ${value(`owner.${m.owner}`, m.owner)}
                <td>${m.keys}</td>
                ${value(`lse.${m.hop}`, say(m.lse))}
                ${value(`out.${m.hop}`, say(m.out))}
                <td>${m.pairs}</td>
              </tr>
            `
          )}
          <tr class="sum">
            <th scope="row">float64</th>
            <td></td>
            <td>${token + 1}</td>
            ${value("exact.lse", say(lse))}
            ${value("exact.out", say(out))}
            <td></td>
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** What a hop computes and sends. */
function hopTable(e: Exposure, ranks: number, fresh: number, cached: number): TemplateResult {
  const most = Math.max(e.attend, e.sendKv);
  return html`
    <ringside-scroll label="Attention and transfer at each hop">
      <table>
        ${heads("At each hop", "Amount", "Time", "")}
        <tbody>
          <tr>
            <th scope="row">Attention</th>
            <td>${formatCount(fresh / ranks)} × ${formatCount((fresh + cached) / ranks)} pairs</td>
            ${value("attend", formatTime(e.attend))}
            ${meter("attend", e.attend / most)}
          </tr>
          <tr>
            <th scope="row">KV message</th>
            ${value("kv", formatBytes(e.kvBytes))}
            ${value("send", formatTime(e.sendKv))}
            ${meter("send", e.sendKv / most, "var(--transfer)")}
          </tr>
          <tr class="sum">
            <th scope="row">Exposed, all hops</th>
            <td>${plural(ranks - 1, "transfer")}</td>
            ${value("exposed", formatTime(e.exposedKv))}
            <td></td>
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}
