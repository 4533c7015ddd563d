/** A box that scrolls sideways when its table is too wide, and then takes the keyboard's focus. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";

/** `<ringside-scroll label>`: the label is read when the box has the focus. */
export class RingsideScroll extends LitElement {
  static override properties = { label: {}, _scrolls: { state: true } };

  declare label: string;
  declare _scrolls: boolean;
  #resize = new ResizeObserver(() => this.#measure());

  constructor() {
    super();
    this.label = "";
    this._scrolls = false;
  }

  #measure(): void {
    const box = this.renderRoot.querySelector("div");
    if (box !== null) this._scrolls = box.scrollWidth > box.clientWidth;
  }

  protected override firstUpdated(): void {
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize.disconnect();
  }

  protected override render(): TemplateResult {
    const { _scrolls: scrolls } = this;
    return html`<div tabindex=${scrolls ? 0 : nothing} role=${scrolls ? "region" : nothing} aria-label=${scrolls ? this.label : nothing}><slot @slotchange=${this.#measure}></slot></div>`;
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
