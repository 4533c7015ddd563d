/** What the machine should run as a sentence, with presets, Run, Cancel and the machine's badge. */
import { html, nothing, type TemplateResult } from "lit";
import { inline } from "../../lib/elements/inline.ts";
import { editables, type Sentence } from "../../lib/elements/sentence.ts";
import { sayMachine } from "./machine.ts";
import { choices, type Field, names, presets, same, withPreset } from "./model.ts";
import type { RemoteStore } from "./store.ts";

/** Link bandwidths to suggest. */
const LINKS = ["off", "100 MB/s", "3 GB/s", "12.5 GB/s", "26.5 GB/s", "50 GB/s"];

/** The sentence; a layer has its model's heads and no rows to verify. */
export function remoteSentence(store: RemoteStore): Sentence<Field> {
  const { draft, runner } = store;
  const { text, choice } = editables(names, draft);
  const attends = draft.work !== "layer";
  const type = ["in ", choice("dtype", choices.dtype), ","];
  return {
    name: "Remote experiment",
    phrases: [
      [choice("work", choices.work), " of"],
      ...(attends ? [] : [[choice("model", choices.model)], ["over"]]),
      [text("T"), " new"],
      ["and ", text("P"), " cached tokens,"],
      ...(attends
        ? [
          [text("H"), inline`<i>/</i>`, text("Hkv"), " heads"],
          ["of ", text("D")],
          type,
          [choice("causal", choices.causal), ","],
        ]
        : [type]),
      ["on ", text("N"), draft.N === "1" ? " rank," : " ranks,"],
      ["by ", choice("ways", choices.ways), ","],
      ["link ", text("bandwidth", { keyboard: "text", suggestions: LINKS }), ","],
      ...(draft.bandwidth === "off" ? [] : [["latency ", text("latency", { keyboard: "text" }), ","]]),
      ["seed ", text("seed"), attends ? "," : "."],
      ...(attends ? [["verify ", text("rows"), " rows here"]] : []),
    ],
    below: presetButtons(store),
    actions: html`${runButton(store)}${machineBadge(store)}`,
    running: runner.running,
    problems: () => store.reading.problems,
    type: (field, value) => store.type(field, value),
    edit: (field, value) => store.edit(field, value),
    run: () => void store.run(),
  };
}

function runButton({ runner, connection }: RemoteStore): TemplateResult {
  const cancel = (event: Event) => {
    // The button turns into the submit button before the click is over, and would submit.
    event.preventDefault();
    runner.cancel();
  };
  if (runner.running) return html`<button type="button" class="button" @click=${cancel}>Cancel</button>`;
  const connected = connection.state.phase === "connected";
  return html`
    <button type="submit" class="button ${connected ? "primary" : ""}" ?disabled=${!connected}
      aria-describedby="who">Run</button>
  `;
}

function presetButtons(store: RemoteStore): TemplateResult {
  const { reading: { experiment }, lab } = store;
  const button = (name: string, why: string, chosen: boolean, act: () => void) =>
    html`
      <button type="button" class="button" aria-pressed=${String(chosen)} title=${why} @click=${act}>${name}</button>
    `;
  return html`
    <p class="presets" role="group" aria-label="Start from">
      ${presets.map((preset) =>
        button(
          preset.title,
          preset.why,
          experiment !== undefined && same(experiment, withPreset(experiment, preset)),
          () => store.usePreset(preset.id),
        )
      )}
      ${lab === undefined
        ? nothing
        : button("The Lab’s", "The experiment of the Lab’s sentence", same(experiment, lab), () => store.use(lab))}
    </p>
  `;
}

function machineBadge({ shown, connection: { state } }: RemoteStore): TemplateResult {
  const badge = (lamp: "hard" | "soft" | "", words: TemplateResult | string) =>
    html`<p class="badge" id="who"><span class="lamp ${lamp}"></span><span>${words}</span></p>`;
  if (shown.kind === "run") return badge("soft", html`<b>Recorded</b> ${sayMachine(shown.run.facts)}`);
  switch (state.phase) {
    case "connected": {
      const gpu = state.facts.devices.some(({ kind }) => kind === "cuda");
      return badge(gpu ? "hard" : "soft", html`<b>Connected</b> ${sayMachine(state.facts)}`);
    }
    case "connecting":
    case "reconnecting":
      return badge("", `${state.phase} …`);
    default:
      return badge("", html`<b>Not connected</b> to a worker`);
  }
}
