/** The choice of files, and what was understood of each. */
import { html, nothing, type TemplateResult } from "lit";
import { formatBytes, formatCount } from "../../lib/format/format.ts";
import type { CheckStore } from "./store.ts";

/** Files that are listed before the rest is only counted. */
const LISTED = 24;

/** Where files are dropped and chosen, and the list of them. `over`: files are dragged over the page. */
export function filesPanel(store: CheckStore, over: boolean): TemplateResult {
  const { files, sorted, peeking } = store;
  const chooser = html`<span class="chooser"><input id="files" type="file" multiple
      accept=".npy,.npz,.safetensors" aria-label="Choose files" @change=${(event: Event) =>
    chosen(store, event)} /><span
      class="button" aria-hidden="true">Choose files …</span></span>`;
  if (files.length === 0) {
    return html`
      <section class="drop ${over ? "over" : ""}" aria-labelledby="empty">
        <h2 id="empty" class="title">Check your own context-parallel attention</h2>
        <p>Drop the inputs and your program’s result here. Ringside computes every row again, says which rank, hop and
              token is wrong first, and names the fault if it knows one.</p>
        <ul class="list">
          <li><b>Inputs</b>: q, k and v in one .safetensors or .npz, or in three .npy</li>
          <li><b>Result</b>: <code>o</code> and <code>lse</code>, or one of them: of all tokens; of each rank, such as
                <code>o_rank2.npy</code>; or of each rank and hop, such as <code>p_r1_h3.safetensors</code></li>
        </ul>
        <p class="actions">${chooser}</p>
        <p class="quiet">Files stay on this machine and are not in the link. The settings above are.</p>
      </section>
    `;
  }
  const listed = files.slice(0, LISTED);
  return html`<section class="taken ${over ? "over" : ""}" aria-labelledby="taken">
    <div class="bar-top"><h2 id="taken" class="title">Files <small>${formatCount(files.length)}, ${
    formatBytes(files.reduce((sum, { size }) => sum + size, 0))
  }</small></h2>
      <p class="actions">${chooser}<button class="button" @click=${() => store.forget()}>Forget all</button></p></div>
    ${
    sorted.problems.length === 0 || peeking
      ? nothing
      : html`<ul class="bad problems" role="alert">${
        sorted.problems.slice(0, 8).map((problem) => html`<li>${problem}</li>`)
      }</ul>`
  }
    <details ?open=${store.answered === undefined || files.length <= 8}><summary>What each file is</summary>
    <ul class="files">${
    listed.map((file, i) =>
      html`<li><code>${file.name}</code> <span>${peeking ? "…" : sorted.says[i] ?? ""}</span>
        <button class="button square" aria-label="Forget ${file.name}" title="Forget ${file.name}" @click=${() =>
        store.forget(file)}>×</button></li>`
    )
  }</ul>
    ${files.length > LISTED ? html`<p class="quiet">And ${formatCount(files.length - LISTED)} more.</p>` : nothing}
    </details>
  </section>`;
}

function chosen(store: CheckStore, event: Event): void {
  const input = event.target as HTMLInputElement;
  const files = [...input.files ?? []];
  // The visitor may choose the same files again, after a correction.
  input.value = "";
  void store.take(files);
}
