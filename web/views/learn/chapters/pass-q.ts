/** Chapter 6: pass-Q, and when. */
import { html, type TemplateResult } from "lit";
import { type Exposure, TABLE_4 } from "../../../engine/learn.ts";
import { formatBytes, formatCount, formatError, formatShare, formatTime } from "../../../lib/format/format.ts";
import "../../../lib/elements/scroll.ts";
import "../../../lib/timeline/timeline.ts";
import { heads, value } from "../cells.ts";
import { type Chapter, choice, range, slider, v } from "../chapter.ts";
import { keepLast } from "../memo.ts";
import { type Versus, versus } from "../models/cluster.ts";
import { type RingRun, ringRun } from "../models/ring.ts";
import { inLab, inPlanner } from "../onward.ts";
import { plural, times } from "../say.ts";
import { line } from "./line.ts";
import { ringFigure, schedule } from "./ring-figure.ts";

const [FRESH, CACHED] = [16, 112];

/** New tokens: round numbers, and those of the paper's Table 4. */
const NEW = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 320, 500, 640],
  ...[1000, 1280, 2000, 2500, 3200, 4000, 4160, 5000, 6400, 8000],
  ...[10_000, 12_800, 16_000, 20_000, 32_000, 38_400, 64_000, 76_800, 102_400, 115_200, 128_000],
];
/** Cached tokens: the same. */
const KEPT = [
  ...[0, 1000, 2000, 4000, 8000, 12_800, 16_000, 25_600, 32_000, 51_200, 64_000, 89_600],
  ...[115_200, 121_600, 123_840, 124_800, 126_720, 250_000, 500_000, 1_000_000],
];

const controls = {
  fresh: slider("New tokens T", NEW, 1280, formatCount),
  cached: slider("Cached tokens P", KEPT, 126_720, formatCount),
  ranks: slider("Ranks N", range(2, 16), 4),
  fabric: choice("Network of a GPU", { gtt: "RDMA, 400 Gb/s", gti: "TCP, 100 Gb/s" }, "gtt"),
  hop: slider("Hop", range(0, 3), 1),
};

/** A small real run, and both variants in virtual time. */
export interface PassQ {
  readonly run: RingRun;
  readonly versus: Versus;
}

const RANKS = 4;
const run = keepLast(() => ringRun(6, RANKS, FRESH, CACHED, "pass-q"));
const both = keepLast((fabric: "gtt" | "gti", ranks: number, fresh: number, cached: number) =>
  versus(fabric, ranks, fresh, cached)
);
const name = { "pass-kv": "pass-KV", "pass-q": "pass-Q" } as const;
const rules = {
  alg1: "Algorithm 1",
  alg5: "Algorithm 5",
  fitted: "h as printed",
  refitted: "h refitted to Table 4",
} as const;

/** Algorithm 3, Eq. 1, 3 and 5, Algorithms 1 and 5. */
export const passQ: Chapter<typeof controls, PassQ> = {
  id: "pass-q",
  title: "Pass-Q, and when",
  controls,
  model: async ({ ranks, fabric, fresh, cached }) => ({
    run: await run(),
    versus: await both(fabric, ranks, fresh, cached),
  }),
  render({ model, state, controls: draw }) {
    const { setting, kv, q, choices } = model.versus;
    const { meetings, out } = model.run;
    const { fresh, cached, ranks, hop } = state;
    const [alg1, alg5] = choices;
    const t = alg5.terms;
    const one = meetings.filter((m) => m.hop === hop)[0];
    const end = Math.max(kv.end, q.end);
    const context = TABLE_4[0].new + TABLE_4[0].cached;
    const first = TABLE_4.filter((row) => row.passKv < row.passQ).reduce((a, b) => (b.new < a.new ? b : a));
    const most = TABLE_4.filter((row) => row.passQ < row.passKv).reduce((a, b) => (b.new > a.new ? b : a));
    return html`
      <p class="lead">
        If few tokens are new and many are cached, the queries are the smaller load. So let the keys and values stay, and
        send the queries round.
      </p>
      <p>
        In pass-Q, rank <var>k</var> keeps its KV. At hop <var>j</var>, it attends with the queries that rank
        <var>s</var> = (<var>k</var> − <var>j</var>) mod <var>N</var> had first, while it passes them on. After
        <var>N</var> hops, the partial results for the queries of rank <var>s</var> are spread over all ranks and must go
        home. In an All2All, each rank sends every other rank its partial outputs with their LSE. Then each rank merges
        (Eq. 4). This is Algorithm 3. The All2All comes after the last attention, so nothing hides it.
      </p>
      <figure aria-labelledby="fig">
        <figcaption id="fig">
          Queries on the ring: a run of ${RANKS} ranks, computed in this page
          <small>${FRESH} new and ${CACHED} cached tokens, one head.</small>
        </figcaption>
        ${draw("hop")}
        <div class="pair">
          ${ringFigure(meetings, RANKS, hop, "Q")}
          <ringside-scroll label="Queries at each rank and hop">${schedule(meetings, RANKS, hop, "Q")}</ringside-scroll>
        </div>
        <p>
          At hop ${v("hop", String(hop))}, rank 0 computes ${v("pairs", formatCount(one.pairs))} pairs for the queries
          of rank ${v(`owner.${one.owner}`, String(one.owner))}. After All2All and merge, the largest error against
          float64 is ${v("error", formatError(out.max))}. Pass-Q is as exact as pass-KV.
        </p>
      </figure>
      <h3>Which message is smaller</h3>
      <p>
        The miss rate of the KV cache is the share of tokens that are new, <var>T</var>/(<var>T</var>+<var>P</var>). Here
        it is ${v("miss", formatShare(t.missRate))}. A Q message has <var>T</var>/<var>N</var> rows of
        <var>N</var><sub>H</sub> heads. A KV message has (<var>T</var>+<var>P</var>)/<var>N</var> rows of
        2<var>N</var><sub>KV</sub> heads. Q is no larger if (Eq. 1)
      </p>
      <p class="formula">
        <var>T</var>/(<var>T</var>+<var>P</var>) ≤ 2 <var>N</var><sub>KV</sub>/<var>N</var><sub>H</sub>
        = 2 · ${setting.kvHeads}/${setting.heads} = ${v("eq1", formatShare(t.missEq1))}
      </p>
      <p>
        With <var>T</var> = ${v("fresh", formatCount(fresh))} and <var>P</var> = ${v("cached", formatCount(cached))},
        a Q message has ${v("q", formatBytes(t.qBytes))} and a KV message ${v("kv", formatBytes(t.kvBytes))}. But the
        variant with the smaller message isn’t always the faster one.
      </p>
      <p>
        First, a transfer that attention hides is free. Pass-KV’s ring is hidden from <var>T</var> =
        ${v("eq2", formatCount(Math.ceil(t.newEq2)))} on (Eq. 2), pass-Q’s ring from <var>T</var>+<var>P</var> =
        ${v("eq3", formatCount(Math.ceil(t.contextEq3)))} on (Eq. 3). Second, pass-Q pays for its All2All,
        ${v("all2all", formatTime(t.all2all))} per layer. Counting it lowers the border of the miss rate (Eq. 5):
      </p>
      <p class="formula">
        <var>T</var>/(<var>T</var>+<var>P</var>) ≤ 2 <var>N</var><sub>KV</sub>/<var>N</var><sub>H</sub>
        − 4 <var>T</var> BW/(<var>N</var> <var>C</var> <var>e</var>)
        = ${v("eq5", formatShare(t.missEq5))}${t.missEq5 < 0 ? ", below any miss rate" : ""}
      </p>
      <figure aria-labelledby="choice">
        <figcaption id="choice">
          Your step: ${formatCount(fresh)} new tokens after ${formatCount(cached)}, on ${ranks} ranks
          <small>
            Llama 3 405B, one GPU’s heads (${setting.heads} query, ${setting.kvHeads} KV), peak rates. Algorithm 5
            chooses pass-Q if the step is on the coloured part of both lines.
          </small>
        </figcaption>
        ${draw("fresh", "cached", "ranks", "fabric")}
        ${line("Miss rate", 1e-5, 1, {
          key: "eq5",
          value: t.missEq5,
          text: `Eq. 5: ${t.missEq5 > 0 ? formatShare(t.missEq5) : "none"}`,
        }, { key: "miss", value: t.missRate, text: `yours: ${formatShare(t.missRate)}` })}
        ${line("New tokens", 1, 128_000, {
          key: "eq2",
          value: t.newEq2,
          text: `Eq. 2: ${formatCount(Math.ceil(t.newEq2))}`,
        }, { key: "fresh", value: fresh, text: `yours: ${formatCount(fresh)}` })}
        ${ruleTable(model.versus)}
        ${variantTable(t)}
        <ringside-timeline
          .heading=${`pass-KV: ${formatTime(kv.end)} per layer`}
          .spans=${kv.spans} .ranks=${ranks} .shown=${1} .end=${end}
        ></ringside-timeline>
        <ringside-timeline
          .heading=${`pass-Q: ${formatTime(q.end)} per layer`}
          .spans=${q.spans} .ranks=${ranks} .shown=${1} .end=${end}
        ></ringside-timeline>
      </figure>
      <p>
        ${t.qBytes < t.kvBytes
          ? html`The KV message is ${v("ratio", times(t.kvBytes / t.qBytes))} as large as the Q message.`
          : html`The Q message is ${v("ratio", times(t.qBytes / t.kvBytes))} as large as the KV message.`}
        Pass-KV exposes ${v("exposed.kv", formatTime(t.exposedKv))}. Pass-Q exposes
        ${v("exposed.q", formatTime(t.exposedQ))}, All2All included. Algorithm 1 ignores the All2All and chooses
        ${v("rule.alg1", name[alg1.variant])}. Algorithm 5 counts it and chooses
        ${v("rule.alg5", name[alg5.variant])}. Its reason: ${alg5.why}.
      </p>
      <h3>A rule is only a rule</h3>
      <p>
        Algorithm 5 decides; it doesn’t predict times. It compares totals of whole loops, at rates that it is given. Near
        its border, either variant will do. The paper measured both on four hosts with ${formatCount(context)} tokens
        (Table 4). Pass-Q was faster up to <var>T</var> = ${v("measured", formatCount(most.new))}
        (${formatTime(most.passQ / 1e3)} against ${formatTime(most.passKv / 1e3)}), and pass-KV from
        ${formatCount(first.new)} on.
      </p>
      <p>
        The paper also fits a rule h(<var>T</var>, <var>P</var>) to its own measurements (Appendix D). With its printed
        constants, no usual logarithm reproduces Table 4. So the table above uses constants refitted to Table 4.
      </p>
    `;
  },
  onward: ({ state }) => [
    inPlanner(
      { cp: state.ranks, new: state.fresh, cached: state.cached, fabric: state.fabric, variant: "auto" },
      `${formatCount(state.fresh)} new and ${formatCount(state.cached)} cached tokens on ${
        plural(state.ranks, "host")
      }, with the policy map around them.`,
    ),
    inLab(
      { N: Math.min(8, state.ranks), T: 64, P: 1984, variant: "pass-q", link: { bandwidth: 3e6, latency: 0.001 } },
      "A small step with a low miss rate, on slow links. Switch to pass-KV to compare.",
    ),
  ],
};

/** The choice of each rule, and of the simulation. */
function ruleTable({ choices, kv, q }: Versus): TemplateResult {
  const ahead = q.end < kv.end ? ("pass-q" as const) : ("pass-kv" as const);
  const apart = Math.max(q.end, kv.end) / Math.min(q.end, kv.end);
  return html`
    <ringside-scroll label="What each rule chooses">
      <table>
        <caption>What each rule chooses</caption>
        ${heads("Rule", "Variant", "How near")}
        <tbody>
          ${choices.map(({ rule, variant, closeness }) =>
            html`<tr><th scope="row">${rules[rule]}</th>${
              value(`rule.${rule}`, name[variant])
            }<td>${closeness}</td></tr>`
          )}
          <tr><th scope="row">Simulated below</th>${value("ahead", name[ahead])}<td>${times(apart)}</td></tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

function variantTable(t: Exposure): TemplateResult {
  return html`
    <ringside-scroll label="Both variants, one layer">
      <table>
        <caption>Both variants <small>one layer, times of one rank</small></caption>
        ${heads("Variant", "Message", "Transfer", "Attention", "All2All", "Exposed")}
        <tbody>
          <tr>
            <th scope="row">pass-KV</th>
            ${value("kv", formatBytes(t.kvBytes))}
            <td>${formatTime(t.sendKv)}</td>
            <td>${formatTime(t.attend)}</td>
            <td>none</td>
            ${value("exposed.kv", formatTime(t.exposedKv))}
          </tr>
          <tr>
            <th scope="row">pass-Q</th>
            ${value("q", formatBytes(t.qBytes))}
            <td>${formatTime(t.sendQ)}</td>
            <td>${formatTime(t.attend)}</td>
            ${value("all2all", formatTime(t.all2all))}
            ${value("exposed.q", formatTime(t.exposedQ))}
          </tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}
