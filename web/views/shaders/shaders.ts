/**
 * The Shaders view: the WGSL that runs beside what it declares; edited, it is compiled, checked, timed beside the
 * shipped text, kept for the other views or exported.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { type Declarations, declarationsOf, tileKernelOfAll } from "../../engine/kernels.ts";
import { download } from "../../lib/elements/download.ts";
import "../../lib/elements/sentence.ts";
import { follow, oncePerFrame } from "../../lib/elements/follow.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import { shared } from "../../lib/elements/style.ts";
import { type KernelVariant, MOST, variants } from "../../lib/kept-kernels.ts";
import { labStyle } from "../../lib/elements/view-style.ts";
import type { RingsideWgsl } from "./editor.ts";
import "./editor.ts";
import { keptTable } from "./kept.ts";
import { failuresOf, news, trialOf } from "./result.ts";
import { kernelSentence } from "./sentence.ts";
import { Store } from "./store.ts";
import { shadersStyle } from "./style.ts";
import { declarationTables } from "./tables.ts";

const store = new Store(variants);

/** `<ringside-shaders>`. */
export class RingsideShaders extends LitElement {
  static override properties = {
    _naming: { state: true },
    _refused: { state: true },
    _wrongName: { state: true },
    _deleted: { state: true },
  };

  /** The kept text whose name is being typed. */
  declare _naming: KernelVariant | undefined;
  /** Why the text was not kept. */
  declare _refused: string;
  /** Why it was not renamed. */
  declare _wrongName: string;
  declare _deleted: KernelVariant | undefined;
  #declared: { readonly text: string; readonly declarations: Declarations } | undefined;
  #update = oncePerFrame(this);
  #moved = () => {
    store.sync();
    this.#update();
  };

  constructor() {
    super();
    this._refused = this._wrongName = "";
    follow(this, () => store, ["change"], this.#update);
    follow(this, () => window, ["popstate"], this.#moved);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void store.begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    store.leave();
  }

  #go = (line: number, column = 1) => this.renderRoot.querySelector<RingsideWgsl>("ringside-wgsl")?.goTo(line, column);

  #declarations(text: string): Declarations {
    if (this.#declared?.text !== text) {
      this.#declared = { text, declarations: declarationsOf(text, declarationsOf(store.texts![tileKernelOfAll])) };
    }
    return this.#declared.declarations;
  }

  #keep(event: Event): void {
    event.preventDefault();
    const input = (event.target as HTMLFormElement).querySelector("input")!;
    this._refused = store.keep(input.value) ?? "";
    if (this._refused !== "") input.focus();
  }

  #export({ kernel, name, text }: { readonly kernel: string; readonly name?: string; readonly text: string }): void {
    download(`${kernel}${name === undefined ? "" : `-${name.replace(/[^\w-]+/g, "-")}`}.wgsl`, text, "text/plain");
  }

  async #focus(selector: string): Promise<void> {
    await this.updateComplete;
    this.renderRoot.querySelector<HTMLElement>(selector)?.focus();
  }

  protected override render(): TemplateResult {
    const { kernel, texts, unread } = store;
    if (unread !== undefined) {
      return html`
        <div class="stage">
          <section class="bad" aria-labelledby="unread">
            <h2 id="unread" class="title">The shader texts could not be read</h2>
            <p class="message">${unread}</p>
            <p>Reload the page to try again.</p>
          </section>
        </div>
      `;
    }
    if (texts === undefined || kernel === undefined) {
      return html`
        <div class="stage">
          <p class="quiet">Looking for an adapter, to show the kernel that it runs …</p>
        </div>
      `;
    }
    const declarations = this.#declarations(store.draft);
    return html`
      <div class="top">
        <ringside-sentence .sentence=${kernelSentence(store, kernel, Object.keys(texts))}></ringside-sentence>
      </div>
      <div class="bench">
        <section class="text" aria-label="Text">
          <ringside-wgsl .text=${store.draft} .base=${store.shipped} .document=${store
            .key} .messages=${store.own?.messages ?? none} .label=${`WGSL of ${kernel}`} @edit=${(
            event: CustomEvent<string>,
          ) => store.edit(event.detail)}></ringside-wgsl>
          ${this.#actions(kernel)}
        </section>
        <div class="told" ${scrolls("Trial and bindings")}>
          <div class="trial">${trialOf(store, this.#go)}</div>
          ${keptTable(
            store,
            variants,
            {
              open: (v) => store.open(v.kernel, v.name),
              use: (v, use) => variants.choose(v.kernel, use ? v.name : undefined),
              export: (v) => this.#export(v),
              rename: (v) => {
                this._naming = v;
                void this.#focus(".name input");
              },
              renamed: (v, name) => {
                this._wrongName = name === undefined ? "" : (store.rename(v.kernel, v.name, name) ?? "");
                if (this._wrongName === "") this._naming = undefined;
              },
              delete: (v) => {
                variants.delete(v.kernel, v.name);
                this._deleted = v;
                void this.#focus(".stale .button");
              },
              undelete: () => {
                if (this._deleted !== undefined) variants.keep(this._deleted);
                this._deleted = undefined;
              },
            },
            this._naming,
            this._wrongName,
            this._deleted,
          )}
          ${declarationTables(declarations, this.#go)}
        </div>
      </div>
      <p class="unseen" role="status">${news(store)}</p>
    `;
  }

  #actions(kernel: string): TemplateResult {
    const { unkeepable, own, variant } = store;
    const wrong = own !== undefined && failuresOf(own) > 0;
    return html`<div class="actions">
      <form class="keep" @submit=${this.#keep} aria-label="Keep">
        <input aria-label="Name of the variant" placeholder="name" maxlength=${MOST.name} autocomplete="off" .value=${
      live(variant?.name ?? "")
    } ?disabled=${unkeepable !== undefined} aria-describedby="keepable" aria-invalid=${
      this._refused === "" ? nothing : "true"
    } @input=${() => (this._refused = "")} />
        <button class="button" ?disabled=${unkeepable !== undefined}>${
      wrong ? "Keep, marked as failing" : "Keep"
    }</button>
      </form>
      <button class="button" @click=${() =>
      this.#export({ kernel, name: variant?.name, text: store.draft })}>Export .wgsl</button>
      <button class="button" ?disabled=${!store.edited} @click=${() => store.revert()}>Revert</button>
      ${
      variant === undefined || store.edited
        ? nothing
        : html`<button class="button" aria-pressed=${
          variants.chosen(kernel) === variant ? "true" : "false"
        } @click=${() => variants.choose(kernel, variants.chosen(kernel) === variant ? undefined : variant.name)}>${
          variants.chosen(kernel) === variant ? "✓ Used in runs" : "Use in runs"
        }</button>`
    }
      <p id="keepable" class="quiet" role=${this._refused === "" ? nothing : "alert"}>${
      this._refused !== ""
        ? html`<span class="wrong">${this._refused}</span>`
        : store.notice !== ""
        ? store.notice
        : variant !== undefined && !store.edited
        ? `Kept${variants.chosen(kernel) === variant ? ", and used by the runs of all views" : ""}${
          variant.check.passed ? "." : ": it fails the check."
        }`
        : unkeepable ?? (wrong
          ? "It fails the check: wherever it is used, that is said."
          : "It passed: it can be kept for the runs of all views.")
    }</p>
    </div>`;
  }

  static override styles = [shared, labStyle, shadersStyle];
}

const none: readonly never[] = [];

customElements.define("ringside-shaders", RingsideShaders);
