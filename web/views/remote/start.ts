/** How to start a worker: one command to copy. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { shared } from "../../lib/elements/style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { startCommand } from "./address.ts";

/** `<ringside-remote-start>`. */
export class RingsideRemoteStart extends LitElement {
  static override properties = { _copied: { state: true } };

  declare _copied: "" | "copied" | "failed";

  constructor() {
    super();
    this._copied = "";
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(startCommand(location));
      this._copied = "copied";
    } catch {
      this._copied = "failed";
    }
  }

  protected override render(): TemplateResult {
    return html`
      <section aria-labelledby="start">
        <h2 id="start">No worker yet?</h2>
        <p>
          On the machine with the GPU, or on this one to try its CPU, in the folder
          <code>cuda-bridge/worker</code> of Ringside:
        </p>
        <p class="command"><code>${startCommand(location)}</code><button class="button" @click=${this
          .#copy}>Copy</button></p>
        <p class="quiet" role="status">${this._copied === "copied"
          ? "Copied."
          : this._copied === "failed"
          ? "The browser does not let this page copy. Select the text."
          : nothing}</p>
        <ul class="quiet">
          <li>
            It needs Python 3.11 with torch, numpy, websockets and jsonschema. It prints an address and a token for the
            connection.
          </li>
          <li>
            One process simulates all ranks on one GPU. <code>--processes 4</code> starts four, each with a GPU, or on a
            CPU over gloo.
          </li>
          <li>
            A worker on another machine listens only to that machine. Forward its port:
            <code>ssh -L 8787:127.0.0.1:8787 HOST</code>.
          </li>
        </ul>
      </section>
    `;
  }

  static override styles = [
    shared,
    viewStyle,
    css`
      section {
        max-width: 640px;
        padding-top: 16px;
        border-top: 1px solid var(--rule);
      }
      .command {
        display: flex;
        gap: 8px;
        align-items: center;
        margin: 8px 0;
        padding: 8px 8px 8px 16px;
        border: 1px solid var(--rule);
        border-radius: var(--radius);
        background: var(--sunken);
      }
      .command code {
        flex: 1;
        min-width: 0;
        font-size: 13px;
        overflow-wrap: anywhere;
      }
      ul {
        list-style: disc;
        padding-left: 16px;
      }
      li {
        margin: 4px 0;
      }
    `,
  ];
}

customElements.define("ringside-remote-start", RingsideRemoteStart);
