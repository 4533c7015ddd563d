/** Names the visitor's kernels that runs use in place of shipped ones, with a way back. Empty if there are none. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { keptKernels, sayKeptKernel } from "../kept-kernels.ts";
import { follow } from "./follow.ts";
import { shared } from "./style.ts";

/** `<ringside-kernels>`: follows the choice of kept kernels. */
export class RingsideKernels extends LitElement {
  constructor() {
    super();
    follow(this, () => keptKernels, ["change"]);
  }

  protected override render(): TemplateResult | typeof nothing {
    const used = keptKernels.inUse;
    if (used.length === 0) return nothing;
    return html`
      <p role="note"
        aria-label="Kernels of your own">${used.map((v) =>
          html`<span class=${v.check.passed ? "" : "wrong"}><a href="#shaders">${v.kernel}</a> · ${
            sayKeptKernel(v)
          }</span>`
        )}<button type="button" @click=${() => keptKernels.chooseShipped()}>Use the shipped</button></p>
    `;
  }

  static override styles = [
    shared,
    css`
      p {
        display: flex;
        flex-wrap: wrap;
        gap: 0 8px;
        max-width: 400px;
        padding-left: 16px;
        font-size: var(--small);
        line-height: 16px;
        color: var(--ink-2);
        overflow-wrap: anywhere;
      }
      @media (min-width: 900px) {
        p {
          justify-content: flex-end;
          text-align: right;
        }
      }
      a,
      button {
        color: var(--accent);
      }
      button {
        padding: 0;
        border: 0;
        background: none;
        text-decoration: underline;
        cursor: pointer;
      }
      .wrong {
        font-weight: 600;
        color: var(--bad);
      }
    `,
  ];
}

customElements.define("ringside-kernels", RingsideKernels);
