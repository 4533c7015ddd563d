/**
 * The Shaders view: a kernel's WGSL beside what it declares. An edited text is compiled, checked and timed beside the
 * shipped one, and can be kept for the other views or exported.
 */
import { html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { type Declarations, declarationsOf, tileKernelOfAll } from "../../engine/kernels.ts";
import { download } from "../../lib/elements/download.ts";
import "../../lib/elements/sentence.ts";
import { follow, oncePerFrame } from "../../lib/elements/follow.ts";
import { scrolls } from "../../lib/elements/scrolls.ts";
import { shared } from "../../lib/elements/style.ts";
import { frameStyle } from "../../lib/elements/frame-style.ts";
import { type KeptKernel, keptKernels, MOST } from "../../lib/kept-kernels.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import type { RingsideWgsl } from "./editor.ts";
import "./editor.ts";
import { type KeptActions, keptTable } from "./kept.ts";
import { failuresOf, news, trialOf } from "./result.ts";
import { kernelSentence } from "./sentence.ts";
import { ShadersStore } from "./store.ts";
import { shadersStyle } from "./style.ts";
import { declarationTables } from "./tables.ts";

const store = new ShadersStore(keptKernels);

/** `<ringside-shaders>`. */
export class RingsideShaders extends LitElement {
  static override properties = {
    _naming: { state: true },
    _refused: { state: true },
    _wrongName: { state: true },
    _deleted: { state: true },
  };

  /** The kept kernel whose name is being typed. */
  declare _naming: KeptKernel | undefined;
  /** Why the text was not kept. */
  declare _refused: string;
  /** Why the kept kernel was not renamed. */
  declare _wrongName: string;
  declare _deleted: KeptKernel | undefined;
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
          <p class="quiet">Looking for an adapter, to open the kernel that it runs …</p>
        </div>
      `;
    }
    const declarations = this.#declarations(store.text);
    return html`
      <div class="top">
        <ringside-sentence .sentence=${kernelSentence(store, kernel, Object.keys(texts))}></ringside-sentence>
      </div>
      <div class="bench">
        <section class="text" aria-label="Text">
          <ringside-wgsl .text=${store.text} .base=${store.shipped} .document=${store.key}
            .messages=${store.own?.messages ?? none} .label=${`WGSL of ${kernel}`}
            @edit=${(event: CustomEvent<string>) => store.edit(event.detail)}></ringside-wgsl>
          ${this.#actions(kernel)}
        </section>
        <div class="told" ${scrolls("Trial and bindings")}>
          <div class="trial">${trialOf(store, this.#go)}</div>
          ${keptTable(
            store,
            keptKernels,
            this.#keptActions,
            { naming: this._naming, wrongName: this._wrongName, deleted: this._deleted },
          )}
          ${declarationTables(declarations, this.#go)}
        </div>
      </div>
      <p class="unseen" role="status">${news(store)}</p>
    `;
  }

  readonly #keptActions: KeptActions = {
    open: ({ kernel, name }) => store.open(kernel, name),
    use: ({ kernel, name }, use) => keptKernels.choose(kernel, use ? name : undefined),
    export: (kept) => this.#export(kept),
    rename: (kept) => {
      this._naming = kept;
      void this.#focus(".name input");
    },
    renamed: ({ kernel, name: before }, name) => {
      this._wrongName = name === undefined ? "" : (store.rename(kernel, before, name) ?? "");
      if (this._wrongName === "") this._naming = undefined;
    },
    delete: (kept) => {
      keptKernels.delete(kept.kernel, kept.name);
      this._deleted = kept;
      void this.#focus(".stale .button");
    },
    undelete: () => {
      if (this._deleted !== undefined) keptKernels.keep(this._deleted);
      this._deleted = undefined;
    },
  };

  #actions(kernel: string): TemplateResult {
    const { unkeepable, own, kept, edited } = store;
    const wrong = own !== undefined && failuresOf(own) > 0;
    const used = kept !== undefined && keptKernels.chosen(kernel) === kept;
    return html`
      <div class="actions">
        <form class="keep" @submit=${this.#keep} aria-label="Keep">
          <input aria-label="Name of the kept kernel" placeholder="name" maxlength=${MOST.name} autocomplete="off"
            .value=${live(kept?.name ?? "")} ?disabled=${unkeepable !== undefined} aria-describedby="keepable"
            aria-invalid=${this._refused === "" ? nothing : "true"} @input=${() => (this._refused = "")} />
          <button class="button" ?disabled=${unkeepable !== undefined}>
            ${wrong ? "Keep, marked as failing" : "Keep"}
          </button>
        </form>
        <button class="button" @click=${() => this.#export({ kernel, name: kept?.name, text: store.text })}>
          Export .wgsl
        </button>
        <button class="button" ?disabled=${!edited} @click=${() => store.revert()}>Revert</button>
        ${kept === undefined || edited ? nothing : html`
          <button class="button" aria-pressed=${String(used)}
            @click=${() => keptKernels.choose(kernel, used ? undefined : kept.name)}>
            ${used ? "✓ Used in runs" : "Use in runs"}
          </button>
        `}
        <p id="keepable" class="quiet" role=${this._refused === "" ? nothing : "alert"}>
          ${this._refused === "" ? this.#keepable(wrong, used) : html`<span class="wrong">${this._refused}</span>`}
        </p>
      </div>
    `;
  }

  /** Whether the text can be kept, or is. */
  #keepable(wrong: boolean, used: boolean): string {
    const { notice, kept, edited, unkeepable } = store;
    if (notice !== "") return notice;
    if (kept !== undefined && !edited) {
      return `Kept${used ? ", and runs of all views use it" : ""}${kept.check.passed ? "." : ": it fails the check."}`;
    }
    if (unkeepable !== undefined) return unkeepable;
    return wrong
      ? "It fails the check. Wherever you use it, the page says so."
      : "It passed. You can keep it for the runs of all views.";
  }

  static override styles = [shared, viewStyle, frameStyle, shadersStyle];
}

const none: readonly never[] = [];

customElements.define("ringside-shaders", RingsideShaders);
