/** The connection: address and token, and the outcome of the last attempt. */
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { follow } from "../../lib/elements/follow.ts";
import { shared } from "../../lib/elements/style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { sayMachine } from "./machine.ts";
import type { RemoteStore } from "./store.ts";

/** `<ringside-remote-connect .store>`. */
export class RingsideRemoteConnect extends LitElement {
  static override properties = { store: { attribute: false } };

  declare store: RemoteStore;
  #phase = "";

  constructor() {
    super();
    follow(this, () => this.store, ["change"]);
  }

  protected override updated(): void {
    const { phase } = this.store.connection.state;
    if (phase === this.#phase) return;
    const before = this.#phase;
    this.#phase = phase;
    // One button replaces the fields, and they come back. The keyboard's focus follows if it was here.
    if (before === "" || !this.#held) return;
    const next = phase === "refused"
      ? (this.store.connection.state.phase === "refused" && this.store.connection.state.failure.field === "token"
        ? "#token"
        : "#address")
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
    void this.store.connection.connect(value("address"), value("token"));
  }

  protected override render(): TemplateResult {
    const { state } = this.store.connection;
    return html`<section aria-labelledby="connection"><h2 id="connection">Connection</h2>${
      state.phase === "connected"
        ? this.#connected()
        : state.phase === "connecting" || state.phase === "reconnecting"
        ? this.#trying()
        : this.#form()
    }</section>`;
  }

  #connected(): TemplateResult {
    const { connection } = this.store;
    const { state } = connection;
    if (state.phase !== "connected") return html``;
    return html`
      <p class="line"><span class="dot good" aria-hidden="true"></span><span>Connected to <b>${connection
        .address}</b></span></p>
      <p><button class="button act" @click=${() => connection.disconnect()}>Disconnect</button></p>
    `;
  }

  #trying(): TemplateResult {
    const { connection } = this.store;
    const { state } = connection;
    const again = state.phase === "reconnecting";
    const words = again
      ? `The connection to ${connection.address} was lost: trying again`
      : `Connecting to ${connection.address}`;
    return html`
      <p class="line"><span class="dot" aria-hidden="true"></span><span>${words}</span></p>
      <p
        class="bar"><progress aria-label=${words}></progress><button class="button act" @click=${() =>
          connection.disconnect()}>${again ? "Stop trying" : "Cancel"}</button></p>
    `;
  }

  #form(): TemplateResult {
    const { connection } = this.store;
    const { state } = connection;
    const failure = state.phase === "refused" || state.phase === "lost" ? state.failure : undefined;
    const wrong = (field: string) => (failure?.field === field ? "true" : nothing);
    const type = (field: "address" | "token") => (event: Event) =>
      connection.type(field, (event.target as HTMLInputElement).value);
    const keep = (event: Event) => connection.setKeep((event.target as HTMLInputElement).checked);
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
        <input id="address" .value=${live(connection.address)} autocomplete="off" spellcheck="false" inputmode="url"
          aria-invalid=${wrong("address")} aria-describedby=${failure === undefined ? nothing : "why"}
          @input=${type("address")} />
        <label for="token">Token</label>
        <input id="token" type="password" .value=${live(connection.token)} autocomplete="off"
          aria-invalid=${wrong("token")} aria-describedby=${failure === undefined ? "token-hint" : "why"}
          @input=${type("token")} />
        <span></span>
        <label class="tick">
          <input type="checkbox" id="keep" .checked=${live(connection.keep)} @change=${keep} /> Keep both for this tab
        </label>
        <span></span>
        <p><button class="button primary act" type="submit">
          ${state.phase === "lost" ? "Connect again" : "Connect"}
        </button></p>
      </form>
      <p class="quiet" id="token-hint">
        The worker prints its address and a fresh token when it starts. The token stays in this page’s
        memory${connection.keep ? " and in this tab’s session storage" : ""}, never in the address.
      </p>
    `;
  }

  static override styles = [
    shared,
    viewStyle,
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

  /** For screen readers: the state of the connection. */
  static news({ connection: { state } }: RemoteStore): string {
    switch (state.phase) {
      case "idle":
        return "";
      case "connecting":
        return "Connecting.";
      case "connected":
        return `Connected: ${sayMachine(state.facts)}.`;
      case "reconnecting":
        return "The connection was lost. Reconnecting.";
      case "refused":
      case "lost":
        return `${state.failure.title}.`;
    }
  }
}

customElements.define("ringside-remote-connect", RingsideRemoteConnect);
