/** Keeps an element up to date with something that fires events when it changes. */
import type { ReactiveController, ReactiveControllerHost } from "lit";

/** Listens while the element is on the page, and no longer; what it listens to may be another one after each update. */
export class Follow implements ReactiveController {
  readonly #of: () => EventTarget | undefined;
  readonly #names: readonly string[];
  readonly #act: () => void;
  #target: EventTarget | undefined;
  #connected = false;

  constructor(
    host: ReactiveControllerHost,
    of: () => EventTarget | undefined,
    names: readonly string[],
    act = () => host.requestUpdate(),
  ) {
    this.#of = of;
    this.#names = names;
    this.#act = act;
    host.addController(this);
  }

  hostConnected(): void {
    this.#connected = true;
    this.#listen();
  }

  /** Lit also updates an element that has left the page, where that was asked for before: it must not listen again. */
  hostUpdated(): void {
    this.#listen();
  }

  hostDisconnected(): void {
    this.#connected = false;
    this.#listen();
  }

  #listen(): void {
    const target = this.#connected ? this.#of() : undefined;
    if (target === this.#target) return;
    for (const name of this.#names) {
      this.#target?.removeEventListener(name, this.#act);
      target?.addEventListener(name, this.#act);
    }
    this.#target = target;
  }
}
