/** The Lab and Step without a result: before a run, during it, and after a failure. */
import { html, nothing, type TemplateResult } from "lit";
import { sayVariant } from "../format/variant.ts";
import type { Backend } from "../../engine/run.ts";
import { type Experiment, sizeOf } from "./experiment.ts";
import { formatBytes, formatCount, formatFlops, formatShare } from "../format/format.ts";
import { type OwnData, sayFiles } from "../own/data.ts";
import { type RunState, type RunStep, runSteps } from "./run.ts";

/** Before the first run: the size of the experiment. */
export function preview(experiment: Experiment | undefined, backend: Backend): TemplateResult {
  if (experiment === undefined) {
    return html`
      <section class="card">
        <h2 class="title">Nothing to run yet</h2>
        <p>Correct the marked parts of the sentence, then run it.</p>
      </section>
    `;
  }
  const { T, P, H, Hkv, D, N, variant } = experiment;
  const { flops, missRate } = sizeOf(experiment);
  const travels = variant === "pass-q"
    ? "queries travel, and keys and values stay. One All2All returns the partial results."
    : "keys and values travel, and queries stay.";
  return html`
    <section class="card" aria-labelledby="empty">
      <h2 id="empty" class="title">Exact attention over a ring of ${N} ${N === 1 ? "rank" : "ranks"}</h2>
      <p>Each rank is a worker ${backend === "webgpu"
        ? "with its own WebGPU device"
        : "that computes in plain TypeScript"} and holds a balanced share of the sequence. Over ${N === 1
        ? "one hop"
        : `${N} hops`}, ${travels} Then a check compares O and LSE with float64.</p>
      <dl class="sizes">
        <div>
          <dt>Attention</dt>
          <dd>${formatFlops(flops)}</dd>
        </div>
        <div>
          <dt>Q</dt>
          <dd>${formatCount(T)} × ${H} × ${D}</dd>
        </div>
        <div>
          <dt>K and V</dt>
          <dd>${formatCount(T + P)} × ${Hkv} × ${D}</dd>
        </div>
        <div>
          <dt>Miss rate T/(T+P)</dt>
          <dd>${formatShare(missRate)}</dd>
        </div>
        <div>
          <dt>Result in f32</dt>
          <dd>${formatBytes(4 * T * H * (D + 1))}</dd>
        </div>
      </dl>
    </section>
  `;
}

const saying: Readonly<Record<RunStep, (experiment: Experiment, own: OwnData | undefined) => string>> = {
  inputs: (
    { seed },
    own,
  ) => (own === undefined ? `Make Q, K and V from seed ${seed}` : `Read Q, K and V from ${sayFiles(own.files)}`),
  starting: ({ N }) => `Start ${N} ${N === 1 ? "rank" : "ranks"}`,
  compiling: () => "Compile the kernels",
  attending: ({ N, variant }) => `Ring ${sayVariant(variant)}: ${N} × ${N} hops`,
  checking: () => "Check O and LSE against float64",
};

/** During a run: its steps, with the progress of the one under way. */
export function progress({ step, experiment, own, halted, progress: at }: RunState, backend: Backend): TemplateResult {
  const shown = runSteps.filter((name) => name !== "compiling" || backend === "webgpu");
  const current = shown.indexOf(step!);
  const unit = step === "attending" ? "hops of all ranks" : "rows";
  return html`
    <section class="card" aria-labelledby="running">
      <h2 id="running" class="title">Running</h2>
      <ol class="steps">
          ${shown.map((name, i) =>
            html`<li class=${i < current ? "past" : i === current ? "now" : "next"} aria-current=${
              i === current ? "step" : nothing
            }>
        <span class="mark" aria-hidden="true">${i < current ? "✓" : i + 1}</span>
        <span>${saying[name](experiment!, own)}</span>
        ${
              i === current
                ? html`<span class="bar">
          ${
                  at === undefined ? html`<progress aria-label=${saying[name](experiment!, own)}></progress>` : html`
                    <progress aria-label=${saying[name](experiment!, own)} value=${at.done}
                      max=${at.total}></progress><small>${formatCount(at.done)} of ${formatCount(
                        at.total,
                      )} ${unit}</small>
                  `
                }
          ${halted && step === "attending" ? html`<a href="#step">its ranks halt: continue in Step</a>` : nothing}
        </span>`
                : nothing
            }
      </li>`
          )}
        </ol>
    </section>
  `;
}

const during: Readonly<Record<RunStep, string>> = {
  inputs: "while the page made the inputs",
  starting: "while the ranks were starting",
  compiling: "while the kernels were compiling",
  attending: "while the ring was running",
  checking: "during the check of the result",
};

/** After a failure: the whole error, what to do, and a button for it. */
export function failed({ failure, step }: RunState, restart: () => void): TemplateResult {
  return html`
    <section class="card bad" aria-labelledby="failed">
      <h2 id="failed" class="title">${failure!.title}</h2>
      <p class="quiet">${step === undefined ? nothing : `This happened ${during[step]}.`}</p>
      <p class="message">${failure!.message}</p>
      <p>${failure!.advice}</p>
      <p class="again"><button class="button" @click=${restart}>Restart</button></p>
    </section>
  `;
}
