/** The table of kept kernels: how each did in its check, whether runs use it, and what one can do with it. */
import { html, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { roleOf } from "../../engine/kernels.ts";
import "../../lib/elements/scroll.ts";
import { formatError } from "../../lib/format/format.ts";
import { fingerprint, type KeptKernel, type KeptKernels, MOST } from "../../lib/kept-kernels.ts";
import type { ShadersStore } from "./store.ts";

/** What the table's buttons do. */
export interface KeptActions {
  readonly open: (kept: KeptKernel) => void;
  readonly use: (kept: KeptKernel, use: boolean) => void;
  readonly export: (kept: KeptKernel) => void;
  readonly rename: (kept: KeptKernel) => void;
  /** Takes the name that was typed; undefined keeps the old one. */
  readonly renamed: (kept: KeptKernel, name: string | undefined) => void;
  readonly delete: (kept: KeptKernel) => void;
  readonly undelete: () => void;
}

/** What the table shows beside the kept kernels. */
export interface KeptState {
  /** The one whose name is being typed, and what is wrong with the name. */
  readonly naming: KeptKernel | undefined;
  readonly wrongName: string;
  /** The one that can be brought back. */
  readonly deleted: KeptKernel | undefined;
}

/** The table, or a hint if nothing is kept. */
export function keptTable(
  store: ShadersStore,
  kernels: KeptKernels,
  actions: KeptActions,
  state: KeptState,
): TemplateResult {
  const { all, problem } = kernels;
  const { deleted } = state;
  return html`
    <section aria-labelledby="kept">
      <h2 id="kept">
        Kept kernels
        <small>in this browser, at most ${MOST
          .kernels}; a ticked one replaces the shipped kernel in every run of this page</small>
      </h2>
      ${problem === undefined ? nothing : html`<p class="stale">${problem}</p>`}
      ${deleted === undefined ? nothing : html`
        <p class="stale">
          You deleted “${deleted.name}” of ${deleted.kernel}.
          <button class="button" @click=${actions.undelete}>Bring it back</button>
        </p>
      `}
      ${all.length === 0
        ? html`<p class="quiet">None yet. A text that compiles and was checked can be kept under a name.</p>`
        : html`
          <ringside-scroll label="Kept kernels">
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
              <tbody>${all.map((kept) => row(store, kernels, actions, kept, state))}</tbody>
            </table>
          </ringside-scroll>
        `}
    </section>
  `;
}

function row(
  store: ShadersStore,
  kernels: KeptKernels,
  actions: KeptActions,
  kept: KeptKernel,
  { naming, wrongName }: KeptState,
): TemplateResult {
  const { check, name, kernel } = kept;
  const use = (event: Event) => actions.use(kept, (event.target as HTMLInputElement).checked);
  return html`
    <tr class=${store.kept === kept ? "on" : ""}>
      <th scope="row">${naming === kept ? nameForm(kept, actions, wrongName) : nameButtons(kept, actions)}</th>
      <td>${kernel}${notesOn(store, kept).map((note) => html`<small class="tag">${note}</small>`)}</td>
      <td class=${check.passed ? "good" : "wrong"}>${check.passed
        ? "passed"
        : `fails ${check.failed} of ${check.cases}`}<small>O ${formatError(check.out)}</small></td>
      <td>${check.ratios.length === 0 ? "–" : check.ratios.map((ratio) => ratio.toFixed(2)).join(", ")}<small>${check
        .adapter.split(",")[0]}${check.software ? " (software)" : ""}</small></td>
      <td><input type="checkbox" aria-label="Runs use ${name} in place of ${kernel}"
        .checked=${live(kernels.chosen(kernel) === kept)} ?disabled=${store.texts?.[kernel] === undefined}
        @change=${use} /></td>
    </tr>
  `;
}

/** What the visitor should know before they use it here. */
function notesOn({ texts, access }: ShadersStore, { kernel, base }: KeptKernel): string[] {
  const notes: string[] = [];
  const shipped = texts?.[kernel];
  if (shipped === undefined) notes.push("this page has no such kernel");
  else if (fingerprint(shipped) !== base) notes.push("the shipped text has changed since");
  if (access.kind === "open") {
    const { tileKernel, unsuited } = access.device;
    if (unsuited.includes(kernel)) notes.push("does not run on this adapter");
    else if (roleOf(kernel) === "tiles" && tileKernel !== kernel) {
      notes.push(`this adapter’s first choice is ${tileKernel}`);
    }
  }
  return notes;
}

function nameForm(kept: KeptKernel, actions: KeptActions, wrong: string): TemplateResult {
  const submit = (event: Event) => {
    event.preventDefault();
    actions.renamed(kept, (event.target as HTMLFormElement).querySelector("input")!.value);
  };
  const key = (event: KeyboardEvent) => event.key === "Escape" && actions.renamed(kept, undefined);
  return html`
    <form class="name" @submit=${submit} @keydown=${key}>
      <input aria-label="New name of ${kept.name}" .value=${kept.name} maxlength=${MOST.name} autocomplete="off"
        aria-invalid=${wrong === "" ? nothing : "true"} aria-describedby=${wrong === "" ? nothing : "wrong-rename"} />
      <button class="button">Rename</button>
      ${wrong === "" ? nothing : html`<span id="wrong-rename" class="wrong" role="alert">${wrong}</span>`}
    </form>
  `;
}

function nameButtons(kept: KeptKernel, actions: KeptActions): TemplateResult {
  const { name } = kept;
  const button = (verb: string, act: (kept: KeptKernel) => void) =>
    html`<button class="at" aria-label="${verb} ${name}" @click=${() => act(kept)}>${verb}</button>`;
  return html`
    <button class="at" @click=${() => actions.open(kept)} title="Open">${name}</button>
    <span class="acts">
      ${button("Rename", actions.rename)} ${button("Export", actions.export)} ${button("Delete", actions.delete)}
    </span>
  `;
}
