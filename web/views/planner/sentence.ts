/** The question to the planner as a sentence, with Plan, Cancel and how far to trust the answer. */
import { html, type TemplateResult } from "lit";
import { ACCELERATORS, FABRICS } from "../../engine/plan.ts";
import { type Choice, editables, type Sentence } from "../../lib/elements/sentence.ts";
import { choices, type Draft } from "./state.ts";
import { type Field, names } from "../../lib/address/plan.ts";

/** What the sentence needs of the view. */
export interface Asking {
  readonly draft: Draft;
  /** True if the plan counts a persistent KV cache. */
  readonly persistent: boolean;
  readonly running: boolean;
  /** How far to trust the plan. */
  readonly trust: string | TemplateResult;
  readonly problems: () => ReadonlyMap<string, string>;
  readonly type: (field: Field, text: string) => void;
  readonly edit: (field: Field, text: string) => void;
  readonly run: () => void;
  readonly cancel: (event: Event) => void;
}

/** Options that show their short names; pointing at one shows the whole. */
const short = (list: Readonly<Record<string, string>>): Choice[] =>
  Object.entries(list).map(([name, label]) => [name, name, label]);

/** The sentence; decode has no new tokens to choose. */
export function plannerSentence(asking: Asking): Sentence<Field> {
  const { draft, persistent, running, trust, problems, type, edit, run } = asking;
  const { text, choice } = editables(names, draft);
  const local = draft.mask === "window" || draft.mask === "chunk";
  const hardware = [
    ACCELERATORS.find(({ name }) => name === draft.accelerator)?.label,
    FABRICS.find(({ name }) => name === draft.fabric)?.label,
  ].filter((part) => part !== undefined).join("; ");
  return {
    name: "Plan",
    phrases: [
      [choice("step", choices.step), " of ", choice("model", choices.model)],
      ["on ", choice("accelerator", short(choices.accelerator))],
      ["over ", choice("fabric", short(choices.fabric)), ","],
      ["CP ", text("cp")],
      ["× TP ", text("tp"), ","],
      ...(draft.step === "decode" ? [] : [[text("new"), " new and"]]),
      [text("cached"), " cached tokens,"],
      [text("batch"), draft.batch === "1" ? " sequence," : " sequences,"],
      local
        ? [
          "with ",
          choice("mask", choices.mask),
          text("size", { label: draft.mask === "window" ? "Window W" : "Chunk C" }),
          ",",
        ]
        : ["with ", choice("mask", choices.mask), ","],
      ["dealt ", choice("dealing", choices.dealing), ","],
      [choice("variant", choices.variant)],
    ],
    below: html`
      <p class="quiet">${hardware}; eight GPUs per host.${persistent
        ? " Planned against a persistent KV cache, as in the paper’s Table 4."
        : ""}</p>
    `,
    actions: html`${planButton(asking)}<p class="note">${trust}</p>`,
    running,
    problems,
    type,
    edit,
    run,
  };
}

/** One button for Plan and Cancel, so that the keyboard's focus stays on it. */
function planButton({ running, cancel }: Asking): TemplateResult {
  return html`
    <button type=${running ? "button" : "submit"} class="button ${running ? "" : "primary"}"
      @click=${(event: Event) => running && cancel(event)}>${running ? "Cancel" : "Plan"}</button>
  `;
}
