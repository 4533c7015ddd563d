/** The source of the inputs: a seed, or the visitor's files, dropped on the Lab or chosen here. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { takeDroppedFiles } from "../../../lib/elements/drop.ts";
import { follow } from "../../../lib/elements/follow.ts";
import { shared } from "../../../lib/elements/style.ts";
import "../../../lib/elements/scroll.ts";
import { formatBytes, formatCount } from "../../../lib/format/format.ts";
import type { PageState } from "../../../lib/experiment/page-state.ts";
import { fileOf, type Letter, letters, type OwnData, sayFiles, tensorsOf } from "../../../lib/own/data.ts";
import type { Intake, Pending } from "../../../lib/own/intake.ts";

/** `<ringside-own .page>`: while it is on the page, it takes files dropped anywhere. */
export class RingsideOwn extends LitElement {
  static override properties = { page: { attribute: false }, _over: { state: true } };

  declare page: PageState;
  /** True while somebody drags files over the page. */
  declare _over: boolean;
  #news = "";
  #focus: string | undefined;

  constructor() {
    super();
    follow(this, () => this.page?.own, ["change"]);
    takeDroppedFiles(this, (over) => (this._over = over), (files) => this.page.own.take(files));
  }

  #chosen(event: Event): void {
    const input = event.target as HTMLInputElement;
    const files = [...(input.files ?? [])];
    // The visitor may choose the same file again, after a correction.
    input.value = "";
    this.page.own.take(files);
  }

  /** A button that disappears with its action leaves the focus to the files' button. */
  #leave(act: () => void): void {
    this.#focus = "#files";
    act();
  }

  #chooser(words: string): TemplateResult {
    return html`
      <span
        class="chooser"><input id="files" type="file" multiple accept=".npy,.safetensors" aria-describedby="hint" @change=${this
          .#chosen} /><label class="button" for="files">${words}</label></span>
    `;
  }

  #held(data: OwnData): TemplateResult {
    return html`
      <ringside-scroll label="Your tensors">
        <table>
          <caption class="unseen">Your tensors</caption>
          <thead>
            <tr>
              <th scope="col">Tensor</th>
              <th scope="col">File</th>
              <th scope="col">Shape</th>
              <th scope="col">Type</th>
            </tr>
          </thead>
          <tbody>${tensorsOf(data).map(({ name, file, shape, dtype }) =>
            html`
              <tr>
                <th scope="row">${name === "sinks" ? "Sinks" : name.toUpperCase()}</th>
                <td class="name">${file.name}${"tensors" in data.files ? `, tensor ${name}` : ""}</td>
                <td>${shape.map(formatCount).join(" × ")}</td>
                <td>${dtype}</td>
              </tr>
            `
          )}</tbody>
        </table>
      </ringside-scroll>
    `;
  }

  #waiting(pending: readonly Pending[]): TemplateResult {
    const missing = letters.filter((letter) => pending.every(({ as }) => as !== letter)).map((letter) =>
      letter.toUpperCase()
    );
    return html`
      <div class="waiting">
        <p>${pending.length < 3
          ? `Still missing: ${missing.join(" and ")}. Choose or drop ${
            pending.length === 2 ? "the third .npy file" : "two more .npy files"
          }.`
          : "Choose the tensor of each file."}</p>
        <ul>${pending.map(({ file, as }, i) =>
          html`<li><span class="name">${file.name}</span> is
        <select id="as-${i}" aria-label="Tensor in ${file.name}" .value=${live(as ?? "")} @change=${(event: Event) =>
            this.#assign(file, event.target as HTMLSelectElement)}>
          ${as === undefined ? html`<option value="" selected>– choose –</option>` : nothing}
          ${
            letters.map((letter) =>
              html`<option value=${letter} ?selected=${letter === as}>${letter.toUpperCase()}</option>`
            )
          }
        </select></li>`
        )}</ul>
        <p><button class="button" @click=${() =>
          this.#leave(() => this.page.own.forget())}>Forget ${pending.length === 1
          ? "this file"
          : "these files"}</button></p>
      </div>
    `;
  }

  #assign(file: File, { id, value }: HTMLSelectElement): void {
    this.#focus = `#${id}`;
    this.page.own.assign(file, value as Letter);
  }

  protected override render(): TemplateResult {
    const { own } = this.page;
    const { data, pending, reading, problem } = own;
    return html`<section class=${
      data !== undefined || pending.length > 0 || problem !== undefined || reading !== undefined ? "box" : ""
    } aria-labelledby="title">
      <div class="line">
        <h2 id="title">${data === undefined ? "Inputs" : "Your own Q, K and V"}</h2>
        ${this.#chooser(data === undefined ? "Use your own files …" : "Choose other files …")}
        ${
      data === undefined
        ? nothing
        : html`<button class="button" @click=${() =>
          this.#leave(() => this.page.seeded())}>Use seeded inputs again</button>`
    }
        <p id="hint" class="quiet">${
      data === undefined
        ? "Made from a seed. Or drop your own here: one .safetensors with q, k and v, or three .npy. " +
          "They stay in this browser."
        : "The tensors stay in this browser. A link to this page does not contain them: elsewhere, it runs seeded inputs " +
          "of these shapes."
    }</p>
      </div>
      ${data === undefined ? nothing : this.#held(data)}
      ${
      reading === undefined ? nothing : html`
        <div
          class="line apart"><progress aria-label="Reading ${sayFiles(reading)}"></progress><span>Reading ${sayFiles(
            reading,
          )}, ${formatBytes(sizeOf(reading))}</span>
                <button class="button" @click=${() => this.#leave(() => own.forget())}>Stop reading</button></div>
      `
    }
      ${pending.length === 0 ? nothing : this.#waiting(pending)}
      ${
      problem === undefined ? nothing : html`
        <div class="problem" role="alert">
          <p><b>The page can’t use these files.</b></p>
          <p class="message">${problem}</p>
          <p>Nothing has changed: Run still uses ${data === undefined ? "seeded inputs" : sayFiles(data.files)}.</p>
        </div>
      `
    }
    </section>
    <p class="unseen" aria-live="polite">${this.#news}</p>
    ${
      this._over
        ? html`
          <div class="over" aria-hidden="true">
            <p>Drop Q, K and V here: one .safetensors, or three .npy</p>
          </div>
        `
        : nothing
    }`;
  }

  protected override willUpdate(): void {
    const news = newsOf(this.page.own);
    // The first text is not news.
    if (this.hasUpdated || news !== "Seeded inputs.") this.#news = news;
  }

  protected override updated(): void {
    if (this.#focus === undefined) return;
    (this.renderRoot.querySelector<HTMLElement>(this.#focus) ?? this.renderRoot.querySelector<HTMLElement>("#files"))
      ?.focus();
    this.#focus = undefined;
  }

  static override styles = [
    shared,
    css`
      :host {
        margin-bottom: 24px;
        max-width: 1280px;
      }
      .box {
        padding: 12px 16px;
        border: 1px solid var(--rule);
        border-radius: var(--radius);
        background: var(--sunken);
      }
      .line {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 16px;
      }
      .line .button {
        min-height: 28px;
        padding: 1px 10px;
        font-size: 13px;
      }
      .chooser {
        position: relative;
      }
      .chooser input {
        position: absolute;
        inset: 0;
        width: 100%;
        opacity: 0;
        cursor: pointer;
      }
      .chooser label {
        position: relative;
        pointer-events: none;
      }
      .chooser input:hover + label {
        border-color: var(--ink);
      }
      .chooser input:focus-visible + label {
        outline: 2px solid var(--accent);
        outline-offset: 2px;
      }
      .quiet {
        color: var(--ink-2);
        font-size: 13px;
      }
      ringside-scroll {
        max-width: 720px;
        margin-top: 8px;
      }
      td:nth-child(2),
      th:nth-child(2) {
        text-align: left;
      }
      .name {
        white-space: normal;
        overflow-wrap: anywhere;
      }
      .apart,
      .waiting,
      .problem {
        margin-top: 8px;
        padding-top: 8px;
        border-top: 1px solid var(--rule);
        font-size: 13px;
      }
      .box .quiet {
        flex: 1 1 400px;
      }
      .waiting ul {
        list-style: none;
        margin: 8px 0;
        display: grid;
        gap: 4px;
      }
      .waiting .button {
        min-height: 28px;
        padding: 1px 10px;
      }
      .waiting .name {
        font-weight: 600;
      }
      select {
        height: 28px;
        border: 1px solid var(--rule-strong);
        border-radius: 3px;
        background: var(--raised);
        color: var(--ink);
      }
      .problem b {
        color: var(--bad);
      }
      .message {
        margin: 4px 0;
        font-family: var(--mono);
        overflow-wrap: anywhere;
        white-space: pre-wrap;
      }
      progress {
        width: 128px;
        accent-color: var(--accent);
      }
      .over {
        position: fixed;
        inset: 8px;
        z-index: 10;
        display: grid;
        place-items: center;
        border: 2px dashed var(--accent);
        border-radius: var(--radius);
        background: color-mix(in srgb, var(--paper) 88%, transparent);
        font-size: 18px;
        text-align: center;
        pointer-events: none;
      }
      @media print {
        .chooser,
        .quiet {
          display: none;
        }
      }
    `,
  ];
}

const sizeOf = (files: NonNullable<Intake["reading"]>) =>
  [...new Set(letters.map((letter) => fileOf(files, letter)))].reduce((sum, { size }) => sum + size, 0);

/** For screen readers. A problem is a separate alert. */
function newsOf({ data, pending, reading, problem }: Intake): string {
  if (reading !== undefined) return `Reading ${sayFiles(reading)}.`;
  if (problem !== undefined) return "";
  if (pending.length > 0) return `${pending.length} of 3 .npy files are here.`;
  if (data === undefined) return "Seeded inputs.";
  const { T, P, H, Hkv, D } = data.facts.shape;
  return `Own tensors from ${
    sayFiles(data.files)
  }: ${T} new and ${P} cached tokens, ${H} query heads, ${Hkv} KV heads, head dimension ${D}.`;
}

customElements.define("ringside-own", RingsideOwn);
