/** A text's trial: its progress, the compiler's messages, the grid of cases, and the time beside the shipped text. */
import { html, nothing, type TemplateResult } from "lit";
import type { Message, Repeats } from "../../engine/kernels.ts";
import "../../lib/elements/scroll.ts";
import { formatError, formatTime } from "../../lib/format/format.ts";
import { type Device, PATIENCE, type Phase, phases } from "./ask.ts";
import type { ShadersStore, Trial } from "./store.ts";

const doing: Readonly<Record<Phase, string>> = {
  compile: "Compile",
  check: "Check on the grid against float64",
  time: "Time in turns with the shipped text",
};

/** The whole trial; `go` shows a line of the text. */
export function trialOf(store: ShadersStore, go: (line: number, column: number) => void): TemplateResult {
  const { own: trial, access, kernel } = store;
  if (access.kind === "none") {
    return html`
      <section class="card" aria-labelledby="trial">
        <h2 id="trial" class="title">Nothing runs here</h2>
        <p class="message">${access.why}</p>
        <p>
          You can read, edit and export the text. To compile, check and time it, open this page in a browser with WebGPU.
        </p>
      </section>
    `;
  }
  if (trial === undefined) {
    const stopped = store.trial?.state === "stopped" && store.edited;
    return html`<section class="card" aria-labelledby="trial"><h2 id="trial" class="title">${
      stopped ? "Stopped" : store.text === store.shipped ? "The shipped text" : "Not tried yet"
    }</h2>
      <p>
        Each change is compiled, checked against float64 and timed in turns with the shipped text, on a separate device.
        ${store.text === store.shipped ? "A trial of the shipped text itself shows the noise of the times." : ""}
      </p>
      ${
      access.kind === "open" && kernel !== undefined && access.device.unsuited.includes(kernel)
        ? html`<p class="stale">${kernel} is not for this adapter: it may not compile, or fail its check.</p>`
        : nothing
    }</section>`;
  }
  return html`
    ${trial.state === "failed"
      ? failed(trial)
      : trial.state === "done" || trial.state === "stopped"
      ? verdict(trial)
      : progress(trial)}
    ${messageTable(trial.messages ?? [], go)}
    ${access.kind === "open" ? timeTable(trial, access.device) : nothing}
    ${caseTable(trial)}
  `;
}

/** For screen readers: each step and the outcome. */
export function news(store: ShadersStore): string {
  const { own: trial, notice } = store;
  if (notice !== "") return notice;
  if (trial === undefined) return "";
  switch (trial.state) {
    case "waiting":
      return "";
    case "opening":
      return "Opening a device.";
    case "compile":
    case "check":
    case "time":
      return `${doing[trial.state]}.`;
    case "failed":
      return titleOfFailure(trial);
    default:
      return titleOf(trial);
  }
}

const errorsOf = (trial: Trial): readonly Message[] => (trial.messages ?? []).filter(({ kind }) => kind === "error");

/** The number of cases and comparisons that failed. */
export function failuresOf({ cases, times }: Trial): number {
  return (cases ?? []).filter(({ passed }) => !passed).length +
    (times ?? []).filter(({ apart }) => !apart.within).length;
}

function titleOf(trial: Trial): string {
  const errors = errorsOf(trial);
  if (trial.state === "stopped") return "Stopped";
  if (errors.length > 0) {
    return `It does not compile: ${errors.length === 1 ? "1 error" : `${errors.length} errors`}${
      errors[0].line > 0 ? `, the first at line ${errors[0].line}` : ""
    }`;
  }
  if (trial.cases === null) return "It compiles";
  const wrong = failuresOf(trial);
  const all = (trial.cases?.length ?? 0) + (trial.times?.length ?? 0);
  return wrong > 0
    ? `Failed: ${wrong} of ${all} cases differ from float64`
    : `Passed: all ${trial.cases?.length} cases agree with float64`;
}

function verdict(trial: Trial): TemplateResult {
  const errors = errorsOf(trial);
  const bad = errors.length > 0 || failuresOf(trial) > 0;
  const none = trial.cases === null || trial.state === "stopped";
  const worst = (of: "out" | "lse") => formatError(Math.max(...trial.cases!.map((c) => c[of].max)));
  return html`<section aria-labelledby="trial">
    <h2 id="trial" class="title ${bad ? "wrong" : none ? "" : "good"}">${
    none && !bad ? nothing : html`
      <span aria-hidden="true">${bad ? "✗" : "✓"}</span>
    `
  }${titleOf(trial)}</h2>
    ${
    errors.length > 0
      ? html`<p class="quiet">Nothing ran.</p>`
      : trial.state === "stopped"
      ? html`<p class="quiet">You stopped the trial before its end.</p>`
      : trial.cases === null
      ? html`
        <p class="quiet">
          This kernel measures an adapter’s limits for “ringside bench”. It has no result to check, and is not timed here.
        </p>
      `
      : html`<dl class="errors">
        ${
        (trial.times ?? []).map(({ label, ratio }) =>
          html`
            <div class=${ratio.min <= 1 && ratio.max >= 1 ? "minor" : ""}>
              <dt>Time over shipped, ${short(label)}</dt>
              <dd>${ratio.median.toFixed(2)} × <small>${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}</small></dd>
            </div>
          `
        )
      }
        <div class="minor"><dt>Largest error of O</dt><dd>${worst("out")}</dd></div>
        <div class="minor"><dt>Largest error of LSE</dt><dd>${worst("lse")}</dd></div>
      </dl>
      ${
        bad
          ? html`<p class="quiet">Not timed: the time of a wrong kernel means nothing.</p>`
          : html`<p class="quiet">${
            (trial.times ?? []).map(({ label, ratio }) => `${short(label)}: ${sayRatio(ratio)}. `)
          }</p>`
      }`
  }
  </section>`;
}

/** The part of a label in which the experiments of one kernel differ. */
function short(label: string): string {
  return /D \d+$/.exec(label)?.[0] ?? /^merge of \d+ parts/.exec(label)?.[0] ?? label;
}

function sayRatio({ median, min, max, all }: Repeats): string {
  if (min <= 1 && max >= 1) return "no difference beyond the noise of these rounds";
  const percent = Math.abs(100 * (1 - median));
  return `${percent.toFixed(percent < 10 ? 1 : 0)} % ${median < 1 ? "faster" : "slower"} by the median, and ${
    median < 1 ? "faster" : "slower"
  } in each of ${all.length} rounds`;
}

function progress(trial: Trial): TemplateResult {
  if (trial.state === "waiting") {
    return html`
      <section aria-labelledby="trial">
        <h2 id="trial" class="title">Edited</h2>
        <p class="quiet">It compiles when you pause.</p>
      </section>
    `;
  }
  const current = phases.indexOf(trial.state as Phase);
  const at = trial.progress;
  return html`
    <section aria-labelledby="trial">
      <h2 id="trial" class="title">${trial.state === "opening" ? "Opening a device" : "Trying it"}</h2>
      <ol class="steps">${phases.map((phase, i) =>
        html`<li class=${i < current ? "past" : i === current ? "now" : "next"} aria-current=${
          i === current ? "step" : nothing
        }>
      <span class="mark" aria-hidden="true">${i < current ? "✓" : i + 1}</span><span>${doing[phase]}</span>
      ${
          i !== current
            ? nothing
            : html`<span class="bar">${
              at === undefined ? html`<progress aria-label=${doing[phase]}></progress>` : html`
                <progress aria-label=${doing[phase]} value=${at.done}
                  max=${at.total}></progress><small>${at.done} of ${at.total}: ${at.what}</small>
              `
            }</span>`
        }
    </li>`
      )}</ol>
    </section>
  `;
}

function titleOfFailure({ failure }: Trial): string {
  if (failure?.name === "DeviceLost") return "The device was lost";
  if (failure?.name === "Endless") return "A loop without end";
  if (failure?.name === "NoAnswer") {
    return failure.at === "opening" ? "No device was open in time" : "The text did not finish";
  }
  return "The trial failed";
}

function failed(trial: Trial): TemplateResult {
  const { name, message, at } = trial.failure!;
  const advice = name === "Endless"
    ? "It ran with every loop bounded, and then not at all: an endless loop can block the GPU and the browser until you " +
      "restart it."
    : name === "NoAnswer"
    ? at === "opening"
      ? "A kernel that still runs, or a broken driver, can block the GPU."
      : `Either a loop is far too long or never ends: a dispatch may take ${PATIENCE.compute} s. The next trial opens a new ` +
        "device. The GPU may stay busy until its driver gives up."
    : name === "DeviceLost"
    ? "The kernel ran too long, or the driver broke. The next trial opens a new device."
    : "Nothing of it is kept. The next trial starts from the beginning.";
  return html`
    <section class="bad" aria-labelledby="trial">
      <h2 id="trial" class="title">${titleOfFailure(trial)}</h2>
      <p class="quiet">This happened ${at === "opening"
        ? "while a device was opening"
        : at === "compile"
        ? "while it was compiling"
        : at === "check"
        ? "during its check"
        : "during its timing"}.</p>
      <p class="message">${message}</p>
      <p>${advice}</p>
    </section>
  `;
}

function messageTable(
  messages: readonly Message[],
  go: (line: number, column: number) => void,
): TemplateResult | typeof nothing {
  if (messages.length === 0) return nothing;
  return html`
    <ringside-scroll label="What the compiler says">
      <table class="messages">
        <caption>What the compiler says</caption>
        <thead>
          <tr>
            <th scope="col">Line</th>
            <th scope="col">Kind</th>
            <th scope="col">Message</th>
          </tr>
        </thead>
        <tbody>${messages.map(({ kind, line, column, message }) =>
          html`
            <tr class=${kind}>
              <th scope="row">${line > 0
                ? html`<button class="at" @click=${() =>
                  go(line, column)} aria-label="Go to line ${line}:${column}">${line}:${column}</button>`
                : "–"}</th>
              <td>${kind}</td>
              <td class="said">${message}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

function timeTable({ times }: Trial, { adapter, clock }: Device): TemplateResult | typeof nothing {
  if (times === undefined || times.length === 0) return nothing;
  return html`
    <ringside-scroll label="Times">
      <table class="timed">
        <caption>Time <small>medians of ${times[0].text.all.length} rounds in turns, by ${clock === "host clock"
          ? "the host’s clock"
          : clock}, on ${adapter.name}${adapter.software
          ? html`
            <b class="tag">software</b>
          `
          : nothing}; apart: the largest difference between their results</small></caption>
        <thead>
          <tr>
            <th scope="col">Experiment</th>
            <th scope="col">Shipped</th>
            <th scope="col">This text</th>
            <th scope="col">Ratio</th>
            <th scope="col">Rounds</th>
            <th scope="col">Apart</th>
          </tr>
        </thead>
        <tbody>${times.map(({ label, shipped, text, ratio, apart }) =>
          html`
            <tr>
              <th scope="row">${label}</th>
              <td>${formatTime(shipped.median)}</td>
              <td>${formatTime(text.median)}</td>
              <td><b>${ratio.median.toFixed(3)}</b></td>
              <td>${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}</td>
              <td class=${apart.within ? "" : "wrong"}>${formatError(apart.max)}${apart.within ? "" : ": too far"}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** The most failed cases to show at once. */
const SHOWN = 6;

function caseTable({ cases }: Trial): TemplateResult | typeof nothing {
  if (!cases) return nothing;
  const failing = cases.filter(({ passed }) => !passed);
  const table = (some: typeof cases, caption: TemplateResult | string) =>
    html`
      <ringside-scroll label="Grid">
        <table class="cases">
          <caption>${caption}</caption>
          <thead>
            <tr>
              <th scope="col">Case</th>
              <th scope="col">Error of O</th>
              <th scope="col">of LSE</th>
              <th scope="col">Check</th>
            </tr>
          </thead>
          <tbody>${some.map(({ label, out, lse, passed }) =>
            html`
              <tr>
                <th scope="row">${label}</th>
                <td>${formatError(out.max)}</td>
                <td>${formatError(lse.max)}</td>
                <td class=${passed ? "good" : "wrong"}>${passed ? "passed" : "failed"}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
    `;
  return html`${
    failing.length > 0
      ? table(
        failing.slice(0, SHOWN),
        html`Cases that failed <small>${
          failing.length > SHOWN ? `the first ${SHOWN} of ${failing.length}; ` : ""
        }largest differences from float64</small>`,
      )
      : nothing
  }
    <details><summary>All ${cases.length} cases of the grid</summary>${
    table(
      cases,
      html`Grid <small>largest differences from float64; each element may differ by what rounding can add up to in its row</small>`,
    )
  }</details>`;
}
