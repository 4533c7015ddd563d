/** Check: the workbench for somebody's own context parallelism. Its parts share the view, and the address names one. */
import { css, html, LitElement, type TemplateResult } from "lit";
import { follow } from "../../lib/elements/follow.ts";
import { shared } from "../../lib/elements/style.ts";
import { flow } from "../../lib/elements/style-parts.ts";
import "./compare.ts";
import "./layouts/layouts.ts";
import { CheckStore } from "./store.ts";
import { TraceStore } from "./traces/store.ts";
import "./traces/traces.ts";

/** The parts: their names in the address and on the page. */
const parts = { result: "Result", layouts: "Layouts", traces: "Traces" } as const;

type Part = keyof typeof parts;

/** Kept while another part or view shows, with their files and what is under way. */
const store = new CheckStore();
const traces = new TraceStore();

/** `<ringside-check>`. */
export class RingsideCheck extends LitElement {
  static override properties = { _part: { state: true } };

  declare _part: Part;

  constructor() {
    super();
    this._part = partOfAddress();
    follow(this, () => window, ["popstate"], () => {
      store.sync();
      if (location.hash === "#check") this._part = partOfAddress();
    });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this._part = partOfAddress();
    store.sync();
  }

  #go(part: Part): void {
    if (part === this._part) return;
    const query = new URLSearchParams(location.search);
    if (part === "result") query.delete("part");
    else query.set("part", part);
    const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    history.pushState(null, "", `${text === "" ? location.pathname : `?${text}`}${location.hash}`);
    store.sync();
    this._part = part;
  }

  protected override render(): TemplateResult {
    const nav = html`<nav slot="parts" aria-label="Parts of Check">${
      (Object.keys(parts) as Part[]).map((part) =>
        html`<button aria-current=${part === this._part ? "true" : "false"} @click=${() => this.#go(part)}>${
          parts[part]
        }</button>`
      )
    }</nav>`;
    if (this._part === "traces") return html`<ringside-traces .store=${traces}>${nav}</ringside-traces>`;
    if (this._part === "layouts") return html`<ringside-layouts>${nav}</ringside-layouts>`;
    return html`<ringside-compare .store=${store}>${nav}</ringside-compare>`;
  }

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        min-width: 0;
      }
      nav {
        ${flow};
        gap: 4px;
        margin: -4px 0 8px -10px;
      }
      nav button {
        padding: 2px 10px;
        border: 0;
        border-radius: var(--radius);
        background: none;
        color: var(--ink-2);
        font-size: var(--note);
        cursor: pointer;
      }
      nav button:hover {
        color: var(--ink);
      }
      nav [aria-current="true"] {
        background: var(--sunken);
        color: var(--ink);
        font-weight: 600;
        box-shadow: inset 0 0 0 1px var(--rule);
      }
    `,
  ];
}

function partOfAddress(): Part {
  const part = new URLSearchParams(location.search).get("part") ?? "result";
  return Object.hasOwn(parts, part) ? part as Part : "result";
}

customElements.define("ringside-check", RingsideCheck);
