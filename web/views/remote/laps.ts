/** A variant's run: its state, its figures, and the rows that this page recomputed. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../../lib/format/variant.ts";
import { formatCount, formatError, formatTime } from "../../lib/format/format.ts";
import { type RemoteExperiment, sayExperiment } from "./model.ts";
import { rowsChart } from "./rows-chart.ts";
import type { LiveLap } from "./runner.ts";
import { passed, type Verification, worstOf } from "./verification.ts";

/** A live lap, or a recorded one, which is done. */
export type AnyLap = Pick<
  LiveLap,
  "variant" | "phase" | "place" | "progress" | "spans" | "seconds" | "value" | "verification" | "pairs" | "failure"
>;

/** The state of a lap, in words. */
export function doing({ phase, place, progress }: AnyLap): string {
  switch (phase) {
    case "waiting":
      return "waiting for the other variant";
    case "sent":
      return "sent to the machine";
    case "queued":
      return place === 1 ? "queued behind one run" : `queued behind ${formatCount(place ?? 0)} runs`;
    case "running":
      return progress?.note ?? "running";
    case "received":
      return "received, to be verified next";
    case "verifying":
      return "verifying rows";
    case "done":
      return "done";
    case "failed":
      return "failed";
    case "cancelled":
      return "cancelled";
  }
}

/** Both cards side by side. */
export function laps(
  all: readonly AnyLap[],
  experiment: RemoteExperiment,
  recorded: boolean,
  fits: (tokens: number) => TemplateResult | typeof nothing,
): TemplateResult {
  return html`<div class="laps ${all.length === 1 ? "one" : ""}">${
    all.map((lap) => card(lap, experiment, recorded, fits))
  }</div>`;
}

function card(
  lap: AnyLap,
  experiment: RemoteExperiment,
  recorded: boolean,
  fits: (tokens: number) => TemplateResult | typeof nothing,
): TemplateResult {
  const { variant, phase, progress, seconds, verification, pairs, failure, spans } = lap;
  const name = sayVariant(variant);
  const busy = ["sent", "queued", "running", "verifying"].includes(phase);
  const at = phase === "verifying" ? pairs : progress;
  const total = totalOf(lap);
  return html`<section class="lap" aria-labelledby="lap-${variant}">
    <h2 id="lap-${variant}" class="title">${name} ${verdict(lap)}</h2>
    ${
    busy
      ? html`<p class="bar"><span>${doing(lap)}</span>${
        at === undefined || at.total === 0 ? html`<progress aria-label="${name}: ${doing(lap)}"></progress>` : html`
          <progress aria-label="${name}: ${doing(lap)}" value=${at.done}
            max=${at.total}></progress><small>${formatCount(at.done)} of ${formatCount(at.total)}</small>
        `
      }</p>`
      : phase === "waiting" || phase === "received" || phase === "cancelled"
      ? html`<p class="quiet">${
        phase === "cancelled"
          ? (spans.length > 0
            ? `Cancelled. The ${formatCount(spans.length)} spans that arrived before are below.`
            : "Cancelled before anything arrived.")
          : `${doing(lap)[0].toUpperCase()}${doing(lap).slice(1)}.`
      }</p>`
      : nothing
  }
    ${
    failure === undefined
      ? nothing
      : html`<div class="bad"><h3>${failure.title}</h3><p class="message">${failure.message}</p>${
        failure.fits === undefined ? nothing : fits(failure.fits)
      }<p>${failure.advice}</p></div>`
  }
    ${
    seconds === undefined ? nothing : html`<dl class="figures">
      ${
      total === undefined ? nothing : html`
        <div>
          <dt>${experiment.work === "layer" ? "One layer" : "On the machine"}</dt>
          <dd>${formatTime(total)}</dd>
        </div>
      `
    }
      <div class="minor"><dt>Call to answer</dt><dd>${formatTime(seconds)}</dd></div>
      ${
      verification === undefined || verification.rows.length === 0 ? nothing : html`
        <div class="minor">
          <dt>Largest error of O</dt>
          <dd>${formatError(worstOf(verification.rows)!.out)}</dd>
        </div>
      `
    }
    </dl>`
  }
    ${
    verification === undefined
      ? nothing
      : html`${said(verification, experiment, recorded)}${rowsChart(name, verification, experiment.T)}`
  }
  </section>`;
}

/** Seconds of the ring, or of a layer, if the report has them. */
export function totalOf({ value }: Pick<AnyLap, "value">): number | undefined {
  const times = value?.times as { readonly total?: unknown } | undefined;
  const total = value?.layerSeconds ?? times?.total;
  return typeof total === "number" ? total : undefined;
}

function verdict({ verification, phase }: AnyLap): TemplateResult | typeof nothing {
  if (verification === undefined) return nothing;
  const pass = passed(verification);
  if (pass === undefined) {
    return html`<small>${verification.rows.length} of ${verification.of} rows verified${
      phase === "done" ? ", the rest not" : ""
    }</small>`;
  }
  return pass
    ? html`<small class="good"><span aria-hidden="true">✓</span> ${verification.of} rows verified</small>`
    : html`<small class="wrong"><span aria-hidden="true">✗</span> differs from float64</small>`;
}

/** What was verified, and the worst row. */
function said(
  { rows, of, tolerance, seconds }: Verification,
  { T, P }: RemoteExperiment,
  recorded: boolean,
): TemplateResult {
  const worst = worstOf(rows);
  const lse = rows.reduce((most, row) => Math.max(most, row.lse), 0);
  return html`<p class="quiet">${
    worst === undefined
      ? `This page recomputes ${of} rows of O in float64, from seeded keys and values that never travel.`
      : `${rows.length} of ${of} rows recomputed ${recorded ? "then" : "here"} in float64${
        seconds === undefined ? "" : ` in ${formatTime(seconds)}`
      }, each over its keys among ${formatCount(T + P)}, which never travelled. Worst: token ${
        formatCount(worst.token)
      }, head ${worst.head}. Largest error of LSE: ${formatError(lse)}.${
        tolerance === undefined ? "" : ` Allowed: ${tolerance}.`
      }`
  }</p>`;
}

/** The experiment in words, above the results. */
export function heading(experiment: RemoteExperiment): string {
  const text = sayExperiment(experiment);
  return `${text[0].toUpperCase()}${text.slice(1)}`;
}
