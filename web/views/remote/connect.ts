/** The connection: address and token, and what became of the last attempt. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { follow } from "../../lib/elements/follow.ts";
import { shared } from "../../lib/elements/style.ts";
import { labStyle } from "../../lib/elements/view-style.ts";
import { sayMachine } from "./machine.ts";
import type { Store } from "./store.ts";

/** `<ringside-remote-connect .store>`. */
export class RingsideRemoteConnect extends LitElement {
  static override properties = { store: { attribute: false } };

  declare store: Store;
  #phase = "";

  constructor() {
    super();
    follow(this, () => this.store, ["change"]);
  }

  protected override updated(): void {
    const { phase } = this.store.wire;
    if (phase === this.#phase) return;
    const before = this.#phase;
    this.#phase = phase;
    // The fields give way to one button and come back: the keyboard's focus follows, where it was here.
    if (before === "" || !this.#held) return;
    const next = phase === "refused"
      ? (this.store.wire.phase === "refused" && this.store.wire.failure.field === "token" ? "#token" : "#address")
      : ".act";
    this.renderRoot.querySelector<HTMLElement>(next)?.focus();
  }

  #held = false;

  protected override willUpdate(): void {
    this.#held = this.shadowRoot?.activeElement !== null;
  }

  #submit(event: Event): void {
    event.preventDefault();
    const value = (id: string) => this.renderRoot.querySelector<HTMLInputElement>(`#${id}`)!.value;
    void this.store.link.connect(value("address"), value("token"));
  }

  protected override render(): TemplateResult {
    const { wire } = this.store;
    return html`<section aria-labelledby="connection"><h2 id="connection">Connection</h2>${
      wire.phase === "connected"
        ? this.#connected()
        : wire.phase === "connecting" || wire.phase === "reconnecting"
        ? this.#trying()
        : this.#form()
    }</section>`;
  }

  #connected(): TemplateResult {
    const { wire, link } = this.store;
    if (wire.phase !== "connected") return html``;
    return html`
      <p class="line"><span class="dot good" aria-hidden="true"></span><span>Connected to <b>${link
        .address}</b></span></p>
      <p><button class="button act" @click=${() => link.disconnect()}>Disconnect</button></p>
    `;
  }

  #trying(): TemplateResult {
    const { wire, link } = this.store;
    const again = wire.phase === "reconnecting";
    const words = again ? `The connection to ${link.address} was lost: trying again` : `Connecting to ${link.address}`;
    return html`
      <p class="line"><span class="dot" aria-hidden="true"></span><span>${words}</span></p>
      <p
        class="bar"><progress aria-label=${words}></progress><button class="button act" @click=${() =>
          link.disconnect()}>${again ? "Stop trying" : "Cancel"}</button></p>
    `;
  }

  #form(): TemplateResult {
    const { wire, link } = this.store;
    const failure = wire.phase === "refused" || wire.phase === "lost" ? wire.failure : undefined;
    const wrong = (field: string) => (failure?.field === field ? "true" : nothing);
    return html`
      ${failure === undefined ? nothing : html`
        <div class="bad" role="alert" id="why">
          <h3 class="title">${failure.title}</h3>
          <p class="message">${failure.message}</p>
          <p>${failure.advice}</p>
        </div>
      `}
            <form novalidate @submit=${this.#submit} aria-label="Connect">
              <label for="address">Address</label>
              <input id="address" .value=${live(
                link.address,
              )} autocomplete="off" spellcheck="false" inputmode="url" aria-invalid=${wrong(
                "address",
              )} aria-describedby=${failure === undefined ? nothing : "why"} @input=${(event: Event) =>
                link.type("address", (event.target as HTMLInputElement).value)} />
              <label for="token">Token</label>
              <input id="token" type="password" .value=${live(link.token)} autocomplete="off" aria-invalid=${wrong(
                "token",
              )} aria-describedby=${failure === undefined ? "token-hint" : "why"} @input=${(event: Event) =>
                link.type("token", (event.target as HTMLInputElement).value)} />
              <span></span><label class="tick"><input type="checkbox" id="keep" .checked=${live(link.keep)} @change=${(
                event: Event,
              ) => link.setKeep((event.target as HTMLInputElement).checked)} /> Keep both for this tab</label>
              <span></span><p><button class="button primary act" type="submit">${wire.phase === "lost"
                ? "Connect again"
                : "Connect"}</button></p>
            </form>
            <p class="quiet"
        id="token-hint">The worker prints its address and a fresh token when it starts. The token stays in this page’s memory${link
            .keep
          ? " and, as ticked, in this tab’s session storage"
          : ""}; it is never in the address.</p>
    `;
  }

  static override styles = [
    shared,
    labStyle,
    css`
      form {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 8px 12px;
        align-items: center;
        margin: 8px 0;
      }
      label {
        font-size: 13px;
        color: var(--ink-2);
      }
      .tick {
        display: flex;
        gap: 8px;
        align-items: center;
      }
      input[type="checkbox"] {
        width: 16px;
        height: 16px;
        accent-color: var(--accent);
      }
      input:not([type="checkbox"]) {
        width: 100%;
        height: 32px;
        padding: 0 8px;
        border: 1px solid var(--rule-strong);
        border-radius: var(--radius);
        background: var(--raised);
        font-family: var(--mono);
        font-size: 13px;
      }
      [aria-invalid] {
        border-color: var(--bad);
      }
      h3 {
        margin: 0;
        font-size: 13px;
        font-weight: 600;
        line-height: 24px;
      }
      .bad {
        padding: 12px 16px;
        margin: 8px 0 16px;
      }
      .bad .title {
        font-size: 14px;
        margin: 0;
      }
      .bad .message {
        margin: 4px 0;
        font-size: 12px;
      }
      .line {
        display: flex;
        gap: 8px;
        align-items: baseline;
        margin-bottom: 8px;
        overflow-wrap: anywhere;
      }
      .dot {
        flex: none;
        width: 8px;
        height: 8px;
        border: 1.5px solid var(--ink-2);
        border-radius: 50%;
      }
      .dot.good {
        background: var(--good);
        border-color: var(--good);
      }
    `,
  ];

  /** For a screen reader: what the connection has come to. */
  static news({ wire }: Store): string {
    switch (wire.phase) {
      case "idle":
        return "";
      case "connecting":
        return "Connecting.";
      case "connected":
        return `Connected: ${sayMachine(wire.facts)}.`;
      case "reconnecting":
        return "The connection was lost. Reconnecting.";
      case "refused":
      case "lost":
        return `${wire.failure.title}.`;
    }
  }
}

customElements.define("ringside-remote-connect", RingsideRemoteConnect);
