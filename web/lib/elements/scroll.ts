/** A box that scrolls sideways if its table is too wide, and then can have the keyboard's focus. */
import { css, html, LitElement, type TemplateResult } from "lit";
import { scrolls } from "./scrolls.ts";

/** `<ringside-scroll label>`: a screen reader reads the label when the box has the focus. */
export class RingsideScroll extends LitElement {
  static override properties = { label: {} };

  declare label: string;

  constructor() {
    super();
    this.label = "";
  }

  protected override render(): TemplateResult {
    return html`<div ${scrolls(this.label)}><slot></slot></div>`;
  }

  static override styles = css`
    :host {
      display: block;
      min-width: 0;
    }
    div {
      overflow-x: auto;
    }
    div:focus-visible {
      outline: 2px solid var(--accent);
      outline-offset: 2px;
    }
  `;
}

customElements.define("ringside-scroll", RingsideScroll);
