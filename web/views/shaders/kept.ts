/** The kept texts of all kernels: what each is worth, whether runs use it, and what can be done with it. */
import { html, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { roleOf } from "../../engine/kernels.ts";
import { formatError } from "../../lib/format/format.ts";
import { fingerprint, type KernelVariant, MOST, type Variants } from "../../lib/kept-kernels.ts";
import type { Store } from "./store.ts";

/** What the table asks for. */
export interface KeptActions {
  readonly open: (variant: KernelVariant) => void;
  readonly use: (variant: KernelVariant, use: boolean) => void;
  readonly export: (variant: KernelVariant) => void;
  readonly rename: (variant: KernelVariant) => void;
  /** Takes the name that was typed; undefined: leaves it as it was. */
  readonly renamed: (variant: KernelVariant, name: string | undefined) => void;
  readonly delete: (variant: KernelVariant) => void;
  readonly undelete: () => void;
}

/**
 * The table, or what there is to know where nothing is kept. `naming`: the one whose name is being typed; `deleted`:
 * the one that can be brought back.
 */
export function keptTable(
  store: Store,
  variants: Variants,
  actions: KeptActions,
  naming: KernelVariant | undefined,
  wrongName: string,
  deleted: KernelVariant | undefined,
): TemplateResult {
  const { all } = variants;
  return html`<section aria-labelledby="kept">
    <h2 id="kept">Kept variants <small>in this browser, at most ${MOST.variants}; those that are ticked take the place of the shipped ones in every run of this page</small></h2>
    ${variants.problem === undefined ? nothing : html`<p class="stale">${variants.problem}</p>`}
    ${
    deleted === undefined ? nothing : html`
      <p
        class="stale">“${deleted.name}” of ${deleted.kernel} was deleted. <button class="button" @click=${actions
          .undelete}>Bring it back</button></p>
    `
  }
    ${
    all.length === 0
      ? html`<p class="quiet">None yet. A text that compiles and was checked can be kept under a name.</p>`
      : html`
        <ringside-scroll label="Kept variants">
          <table class="kept" aria-labelledby="kept">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Kernel</th>
                <th scope="col">Check</th>
                <th scope="col">Time over shipped</th>
                <th scope="col">Runs use it</th>
              </tr>
            </thead>
            <tbody>${all.map((v) => row(store, variants, actions, v, naming === v, wrongName))}</tbody>
          </table>
        </ringside-scroll>
      `
  }
  </section>`;
}

function row(
  { texts, access, variant: open }: Store,
  variants: Variants,
  actions: KeptActions,
  v: KernelVariant,
  naming: boolean,
  wrong: string,
): TemplateResult {
  const { check, name, kernel } = v;
  const shipped = texts?.[kernel];
  const idle = access.kind === "open" && access.device.unsuited.includes(kernel)
    ? "not run on this adapter"
    : access.kind === "open" && roleOf(kernel) === "tiles" && access.device.tileKernel !== kernel
    ? `this adapter’s first choice is ${access.device.tileKernel}`
    : "";
  const notes = [
    shipped === undefined
      ? "this page has no such kernel"
      : fingerprint(shipped) === v.base
      ? ""
      : "the shipped text has changed since",
    idle,
  ].filter((note) => note !== "");
  const typed = (event: Event) => (event.target as HTMLElement).closest("form")!.querySelector("input")!.value;
  return html`
    <tr class=${open === v ? "on" : ""}>
      <th scope="row">${naming
        ? html`<form class="name" @submit=${(
          event: Event,
        ) => (event.preventDefault(), actions.renamed(v, typed(event)))} @keydown=${(event: KeyboardEvent) =>
          event.key === "Escape" && actions.renamed(v, undefined)}>
          <input aria-label="New name of ${name}" .value=${name} maxlength=${MOST.name} autocomplete="off" aria-invalid=${
          wrong === "" ? nothing : "true"
        } aria-describedby=${wrong === "" ? nothing : "wrong-rename"} /> <button class="button">Rename</button>
          ${wrong === "" ? nothing : html`<span id="wrong-rename" class="wrong" role="alert">${wrong}</span>`}</form>`
        : html`
          <button class="at" @click=${() => actions.open(v)} title="Open">${name}</button>
          <span
            class="acts"><button class="at" aria-label="Rename ${name}" @click=${() =>
              actions.rename(v)}>Rename</button> <button class="at" aria-label="Export ${name}" @click=${() =>
              actions.export(v)}>Export</button> <button class="at" aria-label="Delete ${name}" @click=${() =>
              actions.delete(v)}>Delete</button></span>
        `}</th>
      <td>${kernel}${notes.map((note) => html`<small class="tag">${note}</small>`)}</td>
      <td class=${check.passed ? "good" : "wrong"}>${check.passed
        ? "passed"
        : `fails ${check.failed} of ${check.cases}`}<small>O ${formatError(check.out)}</small></td>
      <td>${check.ratios.length === 0 ? "–" : check.ratios.map((ratio) => ratio.toFixed(2)).join(", ")}<small>${check
        .adapter.split(",")[0]}${check.software ? " (software)" : ""}</small></td>
      <td><input type="checkbox" aria-label="Runs use ${name} in place of ${kernel}" .checked=${live(
        variants.chosen(kernel) === v,
      )} ?disabled=${shipped === undefined} @change=${(event: Event) =>
        actions.use(v, (event.target as HTMLInputElement).checked)} /></td>
    </tr>
  `;
}
