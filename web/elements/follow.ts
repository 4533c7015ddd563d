/** Keeps an element up to date with something that fires events when it changes. */
import type { ReactiveController, ReactiveControllerHost } from "lit";

/** Listens while the element is on the page; what it listens to may be another one after each update. */
export class Follow implements ReactiveController {
  readonly #of: () => EventTarget | undefined;
  readonly #names: readonly string[];
  readonly #act: () => void;
  #target: EventTarget | undefined;

  constructor(host: ReactiveControllerHost, of: () => EventTarget | undefined, names: readonly string[], act: () => void = () => host.requestUpdate()) {
    this.#of = of;
    this.#names = names;
    this.#act = act;
    host.addController(this);
  }

  hostConnected(): void {
    this.#listen(this.#of());
  }

  hostUpdated(): void {
    this.#listen(this.#of());
  }

  hostDisconnected(): void {
    this.#listen(undefined);
  }

  #listen(target: EventTarget | undefined): void {
    if (target === this.#target) return;
    for (const name of this.#names) {
      this.#target?.removeEventListener(name, this.#act);
      target?.addEventListener(name, this.#act);
    }
    this.#target = target;
  }
}
