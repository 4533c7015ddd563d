/** Which kernel and text are open as a sentence, with the button that tries the text and the device's badge. */
import { html, nothing, type TemplateResult } from "lit";
import { isRun, roleOf, TILE_KERNELS, type TileKernelName } from "../../engine/kernels.ts";
import "../../lib/elements/kernels.ts";
import { inline } from "../../lib/elements/inline.ts";
import { editables, type Sentence } from "../../lib/elements/sentence.ts";
import { keptKernels } from "../../lib/kept-kernels.ts";
import type { ShadersStore } from "./store.ts";

const names = { kernel: "Kernel", text: "Text" };
const none: ReadonlyMap<string, string> = new Map();

/** The sentence; `kernels` are the names of all shipped kernels. */
export function kernelSentence(store: ShadersStore, kernel: string, kernels: readonly string[]): Sentence {
  const { kept, running, edited, missing } = store;
  const { choice } = editables(names, { kernel, text: kept?.name ?? "" });
  const texts = keptKernels.all.filter((one) => one.kernel === kernel).map(({ name }) => [name, name] as const);
  return {
    name: "Trial",
    phrases: [
      ["Kernel ", choice("kernel", kernels.map((name) => [name, name])), ","],
      [
        choice("text", [["", "as shipped"], ...texts]),
        ...(edited ? [inline` <b class="tag">edited</b>`] : []),
      ],
    ],
    below: html`
      <p class="quiet">${missing === undefined ? nothing : inline`<b class="tag">${missing}</b> `}${whatItIs(
        store,
        kernel,
      )}</p>
    `,
    actions: html`${tryButton(store)}${deviceBadge(store)}<ringside-kernels></ringside-kernels>`,
    running,
    problems: () => none,
    type: () => {},
    edit: (field, value) => field === "kernel" ? store.open(value) : store.open(kernel, value || undefined),
    run: () => void store.run(),
  };
}

function tryButton(store: ShadersStore): TemplateResult {
  const { running, access } = store;
  const stop = (event: Event) => {
    if (!running) return;
    // The button turns into the submit button before the click is over, and would submit.
    event.preventDefault();
    store.stop();
  };
  return html`
    <button type=${running ? "button" : "submit"} class="button ${running ? "" : "primary"}"
      ?disabled=${access.kind === "none"} @click=${stop}>${running ? "Stop" : "Compile, check and time"}</button>
  `;
}

function deviceBadge({ access }: ShadersStore): TemplateResult {
  const badge = (lamp: "hard" | "soft" | "", words: TemplateResult | string) =>
    html`<p class="badge"><span class="lamp ${lamp}"></span><span>${words}</span></p>`;
  if (access.kind === "unknown") return badge("", "looking for an adapter …");
  if (access.kind === "none") return badge("soft", html`<b>No WebGPU</b>: nothing can run`);
  const { name, software } = access.device.adapter;
  return badge(software ? "soft" : "hard", html`<b>${software ? "Software adapter" : "GPU"}</b> ${name}`);
}

/** What this page uses a kernel for, and whether this adapter runs it. */
function whatItIs({ access }: ShadersStore, kernel: string): string {
  const role = roleOf(kernel);
  if (role === "tiles") {
    const { what, tileRows } = TILE_KERNELS[kernel as TileKernelName];
    return `${what}; the host gives it tiles of ${tileRows} packed rows.${firstChoice(access, kernel)}`;
  }
  if (role === "pieces") {
    return "Split-KV attention: runs if no sequence has more than one query row on a rank, as in decode.";
  }
  if (role === "merge") return "Merges partial results (Eq. 4): the pieces of decode, and pass-Q’s parcels.";
  if (role === "inputs") {
    return "Makes seeded tensors on the GPU, to verify rows of a remote run. No run of this page uses it.";
  }
  return isRun(kernel)
    ? ""
    : "A micro-kernel of “ringside bench”: it measures what the adapter can do at most. No run of this page uses it.";
}

function firstChoice(access: ShadersStore["access"], kernel: string): string {
  if (access.kind !== "open") return "";
  const { tileKernel, unsuited } = access.device;
  if (tileKernel === kernel) return " This adapter’s first choice for many query rows.";
  return unsuited.includes(kernel)
    ? ` Not for this adapter. Its first choice is ${tileKernel}.`
    : ` This adapter’s first choice is ${tileKernel}.`;
}
