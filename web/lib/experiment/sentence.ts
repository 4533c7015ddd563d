/** The experiment as a sentence, for the Lab and for Step. */
import { html, type TemplateResult } from "lit";
import { badge } from "../elements/badge.ts";
import { inline } from "../elements/inline.ts";
import { type Choice, editables, type Phrase, type Sentence } from "../elements/sentence.ts";
import { formatCount } from "../format/format.ts";
import { sayFiles } from "../own/data.ts";
import { backendChoices, choices, defaults, type Draft, type Field, names } from "./experiment.ts";
import type { PageState } from "./page-state.ts";

/** Link bandwidths to suggest. */
export const LINKS = ["off", "100 MB/s", "1 GB/s", "12.5 GB/s", "50 GB/s", "400 GB/s"];

/** The sentence, with Run, Cancel and the adapter's badge. */
export function experimentSentence(page: PageState): Sentence<Field> {
  const { draft, state, adapter, own, running } = page;
  const { text, choice } = editables(names, draft);
  const shape = (field: Field) => text(field, page.fixed(field) ? { fixed: "as your files have it" } : {});
  const files = own.data?.files;
  const inputs: (Phrase | TemplateResult)[] = files === undefined
    ? [["seed ", text("seed"), ","], ...(draft.grid === "on" ? [] : [["values ", choice("grid", choices.grid), ","]])]
    : [inline`<span class="files">inputs from <b>${sayFiles(files)}</b>,</span>`];
  return {
    name: "Experiment",
    phrases: [
      [text("N"), " ranks,"],
      [shape("T"), " new"],
      ["and ", shape("P"), " cached tokens,"],
      [shape("H"), inline`<i>/</i>`, shape("Hkv"), " heads"],
      ["of ", shape("D"), ","],
      [choice("variant", choices.variant), ","],
      ...maskPhrases(draft, Object.entries(choices.mask)),
      ["wire ", choice("wire", choices.wire), ","],
      ["link ", text("bandwidth", { keyboard: "text", suggestions: LINKS }), ","],
      ...(draft.bandwidth === "off" ? [] : [["latency ", text("latency", { keyboard: "text" }), ","]]),
      ...inputs,
      ["on ", choice("backend", backendChoices(adapter?.webgpu))],
    ],
    actions: html`${buttons(page)}${badge(adapter, draft.backend, state)}`,
    running,
    problems: () => page.reading.problems,
    type: (field, value) => page.type(field, value),
    edit: (field, value) => page.edit(field, value),
    run: () => void (page.running || page.run()),
  };
}

type MaskField = "mask" | "size" | "sinkTokens" | "dealing";

/** The mask, with its size if it is a window or chunks, and how tokens are dealt if that is not as usual. */
export function maskPhrases(draft: Pick<Draft, MaskField>, kinds: readonly Choice[]): Phrase[] {
  const { text, choice } = editables<MaskField>(names, draft);
  const kind = choice("mask", kinds);
  const local = draft.mask === "window" || draft.mask === "chunk";
  const label = draft.mask === "window" ? "Window W" : "Chunk C";
  return [
    ...(local ? [[kind, text("size", { label })], ["with ", text("sinkTokens"), " sink tokens,"]] : [[kind, ","]]),
    ...(local || draft.dealing !== defaults.dealing ? [["dealt ", choice("dealing", choices.dealing), ","]] : []),
  ];
}

function buttons(page: PageState): TemplateResult {
  if (!page.running) return html`<button type="submit" class="button primary">Run</button>`;
  // During the check the result exists: only the check can be stopped.
  const checked = [page.state, page.other].find(({ phase }) => phase === "checking");
  const cancel = (label: string) =>
    html`<button type="button" class="button" @click=${() => page.cancel()}>${label}</button>`;
  if (checked === undefined) return cancel("Cancel");
  const { done, total } = checked.progress ?? { done: 0, total: checked.experiment!.T };
  return html`
    ${cancel("Skip the check")}
    <p class="badge checking">
      <progress aria-label="Rows checked against float64" value=${done} max=${total}></progress>
      <span>${formatCount(done)} of ${formatCount(total)} rows checked</span>
    </p>
  `;
}
