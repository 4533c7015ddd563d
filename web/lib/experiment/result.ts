/** The result of a run: the verdict, the facts, and where time and bytes went. */
import { html, nothing, type TemplateResult } from "lit";
import { disc } from "../elements/disc.ts";
import "../elements/scroll.ts";
import { swatch, swatchOf } from "../elements/swatch.ts";
import type { Report } from "../../engine/run.ts";
import type { Experiment } from "./experiment.ts";
import { formatBytes, formatCount, formatError, formatFlops, formatShare, formatTime } from "../format/format.ts";
import { sums } from "../format/kinds.ts";
import { type OwnData, sayFiles } from "../own/data.ts";
import type { RunState } from "./run.ts";
import { all2allOf, hopsOf } from "../timeline/hops.ts";
import { saySkipped } from "../stage/traffic.ts";
import { sayShare, sayWorst } from "./bounds.ts";
import { factList } from "../elements/facts.ts";

/** Pass or fail in words, with the largest errors of O and LSE. */
export function verdict({ check, step, phase, halted, underflows = [] }: RunState): TemplateResult {
  const warnings = underflows.map((line) => html`<p class="stale">Warning: ${line}.</p>`);
  if (check === undefined) {
    return html`<section aria-labelledby="verdict"><h2 id="verdict" class="title">Not checked</h2>
      <p>${
      phase === "cancelled"
        ? "You skipped the check against float64"
        : `The check against float64 did not finish${step === "checking" ? "" : " yet"}`
    }. The result below is unchecked.</p>${warnings}</section>`;
  }
  const all = check.rows === check.of;
  return html`<section aria-labelledby="verdict">
    <h2 id="verdict" class="title ${check.passed ? "good" : "wrong"}"><span aria-hidden="true">${
    check.passed ? "✓" : "✗"
  }</span> ${check.passed ? "Passed: O and LSE agree with float64" : "Failed: O or LSE differs from float64"}</h2>
    <dl class="errors">
      <div><dt>Largest error of O</dt><dd>${formatError(check.out.max)}</dd></div>
      <div><dt>Largest error of LSE</dt><dd>${formatError(check.lse.max)}</dd></div>
      <div><dt>Largest share of a bound used</dt><dd>${sayShare(check)}</dd></div>
      <div class="minor"><dt>RMS error of O</dt><dd>${formatError(check.out.rms)}</dd></div>
    </dl>
    ${warnings}
    ${check.passed ? nothing : html`<p>Furthest beyond its bound: ${sayWorst(check)}.</p>`}
    <p class="quiet">Allowed: ${check.tolerance}. ${
    all
      ? `All ${formatCount(check.of)} rows were checked.`
      : html`<b>Checked ${formatCount(check.rows)} of ${
        formatCount(check.of)
      } rows</b>, evenly spaced. All rows would take minutes.`
  }${halted ? " The ranks halted in Step: the times of this run include the halts." : nothing}</p>
  </section>`;
}

/** Inputs, adapter, kernel and clock of a run. */
export function facts(report: Report, experiment: Experiment, own: OwnData | undefined): TemplateResult {
  const skipped = saySkipped(report);
  const fallback = experiment.backend === "webgpu" && report.backend === "cpu";
  const rows: (readonly [string, unknown])[] = [
    ["Inputs", own === undefined ? `seed ${experiment.seed}` : sayFiles(own.files)],
    [
      "Adapter",
      html`${report.adapter.name}${
        report.backend === "webgpu" && report.adapter.software
          ? html`
            <b class="tag">software</b>
          `
          : nothing
      }`,
    ],
    [
      "Back-end",
      html`${report.backend === "cpu" ? "plain TypeScript" : "WebGPU"}${
        fallback
          ? html`
            <b class="tag">this browser has no WebGPU</b>
          `
          : nothing
      }`,
    ],
    ["Kernel", html`<code>${report.kernel}</code>`],
    ["Clock", report.clock === "gpu-timestamps" ? "GPU timestamps" : "host"],
    ["Runtime", report.runtime],
    ["Attention", formatFlops(report.spans.reduce((sum, span) => sum + span.flops, 0))],
    ...(report.sinks ? [["Sinks", "a logit for each head, once in its rows’ sums; LSE includes it"] as const] : []),
    ...(skipped === undefined ? [] : [["Skipped", skipped] as const]),
  ];
  return html`
    <section aria-labelledby="facts">
      <h2 id="facts">Facts</h2>
      ${factList(rows)}
    </section>
  `;
}

/** Seconds by kind, each with its share of the total as a bar. */
export function timeTable({ times, clock, backend }: Report, compile: number): TemplateResult {
  return html`
    <ringside-scroll label="Time by kind">
      <table class="times">
        <caption>Time by kind <small>each of the slowest rank; ${clock === "gpu-timestamps"
          ? "attend and merge by GPU timestamps"
          : "by the host’s clock"}</small></caption>
        <thead>
          <tr>
            <th scope="col">Kind</th>
            <th scope="col">Time</th>
            <td></td>
          </tr>
        </thead>
        <tbody>
          ${sums.map(({ kind, key, name }) =>
            html`
              <tr>
                <th scope="row">${swatch(kind)} ${name}</th>
                <td>${formatTime(times[key])}</td>
                <td class="share" aria-hidden="true"><i class=${swatchOf(kind).names} style="width:${Math.min(
                  100,
                  (100 * times[key]) / times.total,
                )}%;${swatchOf(kind).style}"></i></td>
              </tr>
            `
          )}
          <tr><th scope="row">Total</th><td><b>${formatTime(times.total)}</b></td><td></td></tr>
          ${backend === "cpu" ? nothing : html`
            <tr class="apart">
              <th scope="row">${swatch("other")} Compile</th>
              <td>${formatTime(compile + times.compile)}</td>
              <td class="share">${times.compile > 0
                ? "within the run"
                : compile > 0
                ? "before the run"
                : "kept from an earlier run"}</td>
            </tr>
          `}
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** The cost of each hop. */
export function hopTable({ spans, ranks, variant }: Report): TemplateResult {
  const hops = hopsOf(spans, ranks);
  const exchange = all2allOf(spans, ranks);
  return html`
    <ringside-scroll label="Hops">
      <table>
        <caption>Hops <small>times of the slowest rank; bytes and work of all ranks</small></caption>
        <thead>
          <tr>
            <th scope="col">Hop</th>
            <th scope="col">Attend</th>
            <th scope="col">Transfer</th>
            <th scope="col">Wait for the link</th>
            <th scope="col">Late sender</th>
            <th scope="col">Sent</th>
            <th scope="col">Work</th>
          </tr>
        </thead>
        <tbody>
          ${hops.map(({ hop, attend, transfer, wait, late, bytes, flops }) =>
            html`
              <tr>
                <th scope="row">${hop}</th>
                <td>${flops === 0 ? "–" : formatTime(attend)}</td>
                <td>${hop === ranks - 1
                  ? html`<span title="The last hop sends nothing${
                    variant === "pass-q" ? "; the All2All returns its results" : ""
                  }">–</span>`
                  : formatTime(transfer)}</td>
                <td>${formatTime(wait)}</td>
                <td>${formatTime(late)}</td>
                <td>${bytes === 0 ? "–" : formatBytes(bytes)}</td>
                <td>${flops === 0 ? "–" : formatFlops(flops)}</td>
              </tr>
            `
          )}
          ${variant === "pass-kv" ? nothing : html`
            <tr>
              <th scope="row">All2All</th>
              <td>–</td>
              <td>${formatTime(exchange.transfer)}</td>
              <td>${formatTime(exchange.wait)}</td>
              <td>${formatTime(exchange.late)}</td>
              <td>${formatBytes(exchange.bytes)}</td>
              <td>–</td>
            </tr>
          `}
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** What each rank sent, received and computed. */
export function rankTable({ perRank, ranks, spans, variant }: Report): TemplateResult {
  const work = new Array<number>(ranks).fill(0);
  for (const span of spans) work[span.rank] += span.flops;
  const total = work.reduce((sum, flops) => sum + flops, 0);
  const exchanged = variant === "pass-q";
  return html`
    <ringside-scroll label="Ranks">
      <table>
        <caption>Ranks <small>bytes exactly as sent</small></caption>
        <thead>
          <tr><th scope="col">Rank</th><th scope="col">Messages</th><th scope="col">Ring, bytes</th>${exchanged
            ? html`<th scope="col">All2All, bytes</th>`
            : nothing}<th scope="col">Received, bytes</th><th scope="col">Padding, bytes</th><th scope="col">Share of work</th></tr>
        </thead>
        <tbody>
          ${perRank.map((traffic) =>
            html`<tr><th scope="row">${disc(traffic.rank, ranks)}</th><td>${traffic.messages}</td><td>${
              formatCount(traffic.ring.bytes)
            }</td>${exchanged ? html`<td>${formatCount(traffic.all2all.bytes)}</td>` : nothing}<td>${
              formatCount(traffic.bytesReceived)
            }</td><td>${formatCount(traffic.paddingBytes)}</td><td>${
              total > 0 ? formatShare(work[traffic.rank] / total) : "–"
            }</td></tr>`
          )}
        </tbody>
      </table>
    </ringside-scroll>
  `;
}
