/** The conversation's settings as a sentence, with Run, Next turn, Start over and the adapter's badge. */
import { html, nothing, type TemplateResult } from "lit";
import { badge } from "../../lib/elements/badge.ts";
import { inline } from "../../lib/elements/inline.ts";
import { editables, type Sentence } from "../../lib/elements/sentence.ts";
import { backendChoices, choices as labChoices } from "../../lib/experiment/experiment.ts";
import { LINKS, maskPhrases } from "../../lib/experiment/sentence.ts";
import { choices, type Field, names } from "./model.ts";
import type { ConversationStore } from "./store.ts";

/** The sentence; problems of turns are listed at the turns. */
export function conversationSentence(store: ConversationStore): Sentence<Field> {
  const { fields } = store.draft;
  const { text, choice } = editables(names, fields);
  const ranks = Number(fields.N);
  const killable = Number.isInteger(ranks) && ranks >= 1 && ranks <= 64
    ? Array.from({ length: ranks }, (_, r) => [String(r), `kill rank ${r}`] as const)
    : [];
  return {
    name: "Conversation",
    phrases: [
      [text("N"), " ranks,"],
      [choice("sequences", choices.sequences), " with"],
      [text("H"), inline`<i>/</i>`, text("Hkv"), " heads"],
      ["of ", text("D"), ","],
      ...maskPhrases(fields, Object.entries(labChoices.mask).filter(([kind]) => kind !== "full")),
      ["prefills ", choice("prefills", choices.prefills), ","],
      ["cache of ", text("capacity"), " tokens per rank,"],
      ["wire ", choice("wire", labChoices.wire), ","],
      ["link ", text("bandwidth", { keyboard: "text", suggestions: LINKS }), ","],
      ...(fields.bandwidth === "off" ? [] : [["latency ", text("latency", { keyboard: "text" }), ","]]),
      ["seed ", text("seed"), ","],
      ["on ", choice("backend", backendChoices(store.adapter?.webgpu)), ";"],
      [choice("kill", [["none", "no rank dies"], ...killable])],
      ...(fields.kill === "none" ? [] : [
        ["at hop ", text("killHop")],
        ["of the ", choice("killMode", choices.killMode)],
        ["of turn ", text("killTurn")],
      ]),
    ],
    actions: html`${buttons(store)}${badge(store.adapter, fields.backend, { phase: "empty" })}`,
    running: store.talk.running,
    problems: () => store.reading.problems,
    lists: (field) => Object.hasOwn(names, field),
    type: (field, value) => store.type(field, value),
    edit: (field, value) => store.edit(field, value),
    run: (button) => void (store.talk.running || store.run(button === "turn" ? "turn" : "end")),
  };
}

function buttons(store: ConversationStore): TemplateResult {
  const { running, steps } = store.talk;
  const fresh = steps.length === 0 && !running;
  const stale = store.stale && !running;
  const between = !running && store.goesOn && steps.length > 0;
  const all = between
    ? "Run the rest"
    : fresh || store.reading.conversation === undefined || stale
    ? "Run"
    : "Run again";
  return html`
    <div class="buttons">
      ${running
        ? html`<button type="button" class="button" @click=${() => store.talk.cancel()}>Cancel</button>`
        : html`<button type="submit" class="button primary">${all}</button>`}
      <button type="submit" value="turn" class="button" ?disabled=${running ||
        !(between || fresh || stale)}>${fresh || stale ? "First turn" : "Next turn"}</button>
      ${between
        ? html`<button type="button" class="button" @click=${() => void store.startOver()}>Start over</button>`
        : nothing}
    </div>
  `;
}
