/** The view's connection: its address, its state, and the outcome of the last attempt. */
import { readAddress } from "./address.ts";
import { type Facts, type Limits, loadClient, type Remote } from "../../engine/remote.ts";
import { connectionFailure, type Failure, lostFailure } from "./failure.ts";

/** The state of the connection. */
export type ConnectionState =
  | { readonly phase: "idle" }
  | { readonly phase: "connecting" }
  | {
    readonly phase: "connected";
    readonly facts: Facts;
    readonly limits: Limits;
    readonly capabilities: readonly string[];
  }
  | { readonly phase: "reconnecting"; readonly facts: Facts; readonly limits: Limits }
  | { readonly phase: "refused"; readonly failure: Failure }
  | { readonly phase: "lost"; readonly failure: Failure };

const ADDRESS = "ringside-remote-address";
const TOKEN = "ringside-remote-token";
const DEFAULT = "ws://127.0.0.1:8787";

/** Fires "change" on each change. The token is in memory, and in the tab's session storage only while `keep` is on. */
export class Connection extends EventTarget {
  #state: ConnectionState = { phase: "idle" };
  #address = DEFAULT;
  #token = "";
  #keep = false;
  #abort: AbortController | undefined;
  #remote: Remote | undefined;

  constructor() {
    super();
    const token = stored(TOKEN);
    if (token !== null) [this.#address, this.#token, this.#keep] = [stored(ADDRESS) ?? DEFAULT, token, true];
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get address(): string {
    return this.#address;
  }

  get token(): string {
    return this.#token;
  }

  get keep(): boolean {
    return this.#keep;
  }

  /** The machine, while the page is connected. */
  get remote(): Remote | undefined {
    return this.#state.phase === "connected" ? this.#remote : undefined;
  }

  /** Notes a text while somebody types it. */
  type(field: "address" | "token", text: string): void {
    if (field === "address") this.#address = text;
    else this.#token = text.trim();
    this.#store();
  }

  setKeep(keep: boolean): void {
    this.#keep = keep;
    this.#store();
    this.dispatchEvent(new Event("change"));
  }

  /** Connects. Resolves when that is done or refused. */
  async connect(address: string, token: string): Promise<void> {
    this.disconnect();
    [this.#address, this.#token] = [address.trim(), token.trim()];
    const read = readAddress(address, location);
    if ("failure" in read) return this.#set({ phase: "refused", failure: read.failure });
    this.#address = read.address;
    this.#store();
    const abort = new AbortController();
    this.#abort = abort;
    this.#set({ phase: "connecting" });
    try {
      const { Remote } = await loadClient();
      const remote = await Remote.connect(read.address, {
        token: this.#token,
        signal: abort.signal,
        onState: (state, why) => !abort.signal.aborted && state === "lost" && void this.#again(abort.signal, why),
      });
      if (abort.signal.aborted) return void remote.dispose();
      this.#remote = remote;
      this.#there();
    } catch (error) {
      if (!abort.signal.aborted) {
        this.#set({ phase: "refused", failure: connectionFailure(error, read.address, location.origin) });
      }
    }
  }

  /** Tries to reach a worker again after a lost connection. The client limits how long. */
  async #again(signal: AbortSignal, why: string | undefined): Promise<void> {
    const remote = this.#remote;
    // A loss during connecting: `connect` reports it. Calls under way end without help, and one attempt is enough.
    if (remote === undefined || this.#state.phase === "reconnecting") return;
    const { facts, limits } = remote;
    this.#set({ phase: "reconnecting", facts, limits });
    try {
      await remote.health({ signal });
      if (!signal.aborted) this.#there();
    } catch (error) {
      if (signal.aborted) return;
      this.#abort?.abort();
      void remote.dispose();
      this.#remote = undefined;
      this.#set({ phase: "lost", failure: lostFailure(why, error) });
    }
  }

  #there(): void {
    const { facts, limits, capabilities } = this.#remote!;
    this.#set({ phase: "connected", facts, limits, capabilities });
  }

  /** Ends the connection or the attempt. */
  disconnect(): void {
    this.#abort?.abort();
    void this.#remote?.dispose();
    this.#remote = undefined;
    if (this.#state.phase !== "idle") this.#set({ phase: "idle" });
  }

  #set(state: ConnectionState): void {
    this.#state = state;
    this.dispatchEvent(new Event("change"));
  }

  #store(): void {
    try {
      if (this.#keep) {
        sessionStorage.setItem(ADDRESS, this.#address);
        sessionStorage.setItem(TOKEN, this.#token);
      } else for (const key of [ADDRESS, TOKEN]) sessionStorage.removeItem(key);
    } catch {
      // Storage may be off. The tab then keeps nothing, as without the tick.
    }
  }
}

function stored(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}
