/** The answer of a plan: the time, the variant with the reason, the breakdown of the time, and the memory. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { type Memory, type Plan, sayMask } from "../../engine/plan.ts";
import "../../lib/elements/scroll.ts";
import { swatchOf } from "../../lib/elements/swatch.ts";
import { formatBytes, formatCount, formatFlopRate, formatShare, formatTime } from "../../lib/format/format.ts";
import type { TimeKind } from "../../lib/format/kinds.ts";
import type { Planned } from "./requests.ts";
import type { Question } from "../../lib/address/plan.ts";
import { kinds } from "./words.ts";
import { factList } from "../../lib/elements/facts.ts";

/** The headline: TTFT or TTIT, the variant, the reason. */
export function headline(question: Question, { plan, both }: Planned): TemplateResult {
  const name = plan.mode === "decode" ? "TTIT" : "TTFT";
  const what = plan.mode === "decode" ? "time to each further token" : "time to the first token";
  const other = both.find(({ variant }) => variant !== plan.variant);
  return html`<section aria-labelledby="result">
    <h2 id="result" class="title">${name} <small>${what}, predicted</small></h2>
    <p class="figure">${formatTime(plan.seconds)}</p>
    <p>${
    plan.cp === 1
      ? "With one rank nothing travels."
      : html`<b>${sayVariant(plan.variant)}</b>${
        other === undefined
          ? nothing
          : html`, ${question.variant === "auto" ? "simulated as the faster" : "as chosen"}; ${
            sayVariant(other.variant)
          } takes ${formatTime(other.plan.seconds)}`
      }.`
  }</p>
    <p class="quiet reason">${plan.reason[0].toUpperCase()}${plan.reason.slice(1)}.</p>
    ${plan.notes.map((note) => html`<p class="quiet">Note: ${note}.</p>`)}
  </section>`;
}

/** Rates and counts of the whole layout. */
export function facts({ plan }: Planned): TemplateResult {
  const rows: (readonly [string, unknown])[] = [
    [
      "GPUs",
      html`${formatCount(plan.gpus)} on ${formatCount(plan.hosts)} ${
        plan.hosts === 1 ? "host" : "hosts"
      } (CP${plan.cp} × TP${plan.tp})`,
    ],
    ["Work per GPU", html`${formatFlopRate(plan.flopsPerGpu)}, ${formatShare(plan.utilization)} of the bf16 peak`],
    ["Parallel efficiency", html`${formatShare(plan.parallelEfficiency)} of ${plan.cp} times one rank`],
    ["Miss rate T/(T+P)", `${Number((100 * plan.missRate).toPrecision(3))} %`],
    ["Simulated", `${plan.layer.simulated}, ${plan.kinds.length === 1 ? "one layer" : "a layer of each mask"}`],
    ...plan.kinds.length > 1 || plan.kinds[0].mask.kind !== "causal"
      ? plan.kinds.map(({ mask, layers }): [string, string] => [sayMask(mask), `${formatCount(layers)} layers`])
      : [],
    ...plan.dealing === "contiguous" ? [["Dealing", plan.dealing] as const] : [],
  ];
  return html`
    <section aria-labelledby="facts">
      <h2 id="facts">Layout</h2>
      ${factList(rows)}
    </section>
  `;
}

/** The dealings beside each other: time, what travels and how even the work is, for each mask. */
export function dealings({ plan, dealings }: Planned): TemplateResult | typeof nothing {
  if (dealings.length === 0) return nothing;
  const rows = dealings.flatMap((one) => one.kinds.map((kind, i) => ({ one, kind, first: i === 0 })));
  return html`
    <section class="dealings" aria-labelledby="dealings">
      <h2 id="dealings">Dealing <small>what one GPU of every rank sends in a layer</small></h2>
      <ringside-scroll label="Both dealings">
        <table>
          <caption class="unseen">Both dealings</caption>
          <thead>
            <tr>
              <th scope="col">Dealing and mask</th>
              <th scope="col">${plan.mode === "decode" ? "TTIT" : "TTFT"}</th>
              <th scope="col">Sent</th>
              <th scope="col">Not sent</th>
              <th scope="col">Hops skipped</th>
              <th scope="col">Busiest rank</th>
            </tr>
          </thead>
          <tbody>${rows.map(({ one, kind: { mask, layer: { sent } }, first }) =>
            html`
              <tr>
                <th scope="row">${one.dealing}, ${sayMask(mask)}${first && one.dealing === plan.dealing
                  ? html`
                    <small>planned</small>
                  `
                  : nothing}</th>
                <td>${first ? `${formatTime(one.seconds)} in ${sayVariant(one.variant)}` : ""}</td>
                <td>${formatBytes(sent.bytes)}</td>
                <td>${formatBytes(sent.skipped.bytes)}</td>
                <td>${formatCount(sent.skipped.hops)} of ${formatCount(one.cp ** 2)}</td>
                <td>${sent.balance.toFixed(2)} ×</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
      <p class="quiet">Busiest rank: its query-key pairs over the mean of all ranks.</p>
    </section>
  `;
}

const markOf = (
  mark: TimeKind | "launch",
) => (mark === "launch" ? { names: "swatch launch", style: "" } : swatchOf(mark));

/** Seconds by kind: one bar per variant, and one row per kind. */
export function breakdown({ plan, both }: Planned): TemplateResult {
  const columns: readonly Plan[] = both.map((one) => one.plan);
  return html`
    <section aria-labelledby="breakdown">
      <h2 id="breakdown">Where the time goes</h2>
      <div class="stacks" aria-hidden="true">${columns.map((one) =>
        html`
          <span>${columns.length > 1 ? sayVariant(one.variant) : ""}</span>
          <span class="stack" style="width:${(100 * one.seconds) /
            Math.max(...columns.map(({ seconds }) => seconds))}%">${kinds.filter(([key]) => one.breakdown[key] > 0).map(
              ([key, , mark]) =>
                html`<i class=${markOf(mark).names} style="width:${(100 * one.breakdown[key]) / one.seconds}%;${
                  markOf(mark).style
                }"></i>`,
            )}</span>
        `
      )}</div>
      <ringside-scroll label="Time by kind">
        <table>
          <caption class="unseen">Time by kind</caption>
          <thead>
            <tr><th scope="col">Kind</th>${columns.map((one) =>
              html`
                <th scope="col">${columns.length === 1 ? "Time" : sayVariant(one.variant)}</th>
                <th scope="col" class="share">Share</th>
              `
            )}</tr>
          </thead>
          <tbody>
            ${kinds.map(([key, label, mark]) =>
              html`<tr><th scope="row"><span class=${markOf(mark).names} style=${
                markOf(mark).style
              }></span> ${label}</th>${
                columns.map((one) =>
                  html`
                    <td>${formatTime(one.breakdown[key])}</td>
                    <td class="share">${formatShare(one.breakdown[key] / one.seconds)}</td>
                  `
                )
              }</tr>`
            )}
            <tr><th scope="row">Total</th>${columns.map((one) =>
              html`
                <td><b>${formatTime(one.seconds)}</b></td>
                <td class="share">${one.variant === plan.variant && columns.length > 1 ? "planned" : ""}</td>
              `
            )}</tr>
          </tbody>
        </table>
      </ringside-scroll>
    </section>
  `;
}

const parts:
  readonly (readonly [key: keyof Memory & ("weights" | "kv" | "activations" | "ring" | "reserve"), label: string])[] = [
    ["weights", "Weights"],
    ["kv", "KV cache"],
    ["activations", "Activations, one layer"],
    ["ring", "Ring buffers"],
    ["reserve", "Reserve, assumed"],
  ];

/** Memory of a GPU: a bar against its capacity, and the room for KV. */
export function memory({ plan }: Planned): TemplateResult {
  const m = plan.memory;
  const whole = Math.max(m.capacity, m.total);
  return html`
    <section aria-labelledby="memory">
      <h2
        id="memory">Memory of a GPU <small class=${m.fits ? "good" : "wrong"}><span aria-hidden="true">${m.fits
          ? "✓"
          : "✗"}</span> ${m.fits ? "fits" : `does not fit: ${formatBytes(m.total - m.capacity)} too much`}</small></h2>
      <div class="memory" aria-hidden="true">${parts.map(([key]) =>
        html`<i class=${key} style="width:${(100 * m[key]) / whole}%"></i>`
      )}<b style="left:${(100 * m.capacity) / whole}%"></b></div>
      <ringside-scroll label="Memory of a GPU">
        <table>
          <caption class="unseen">Memory of a GPU</caption>
          <tbody>
            ${parts.map(([key, label]) =>
              html`
                <tr>
                  <th scope="row"><i class="key ${key}" aria-hidden="true"></i> ${label}</th>
                  <td>${formatBytes(m[key])}</td>
                </tr>
              `
            )}
            <tr><th scope="row">Total of ${formatBytes(m.capacity)}</th><td><b>${formatBytes(m.total)}</b></td></tr>
            <tr><th scope="row">Room for KV, whole layout</th><td><b>${formatCount(
              m.kvCapacityTokens,
            )}</b> tokens</td></tr>
          </tbody>
        </table>
      </ringside-scroll>
    </section>
  `;
}
