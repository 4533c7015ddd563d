/** Keeps an element up to date with something that fires events when it changes. */
import type { ReactiveController, ReactiveControllerHost } from "lit";

/**
 * Listens to the events `names` of what `of` returns, while the element is on the page. `of` may return another target
 * after each update. Default `act`: update the element.
 */
export function follow(
  host: ReactiveControllerHost,
  of: () => EventTarget | undefined,
  names: readonly string[],
  act: (event: Event) => void = () => host.requestUpdate(),
): void {
  host.addController(new Follow(of, names, act));
}

/** For what changes more often than the screen shows it: updates the element at most once per frame. */
export function oncePerFrame(host: ReactiveControllerHost): () => void {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      host.requestUpdate();
    });
  };
}

class Follow implements ReactiveController {
  readonly #of: () => EventTarget | undefined;
  readonly #names: readonly string[];
  readonly #act: (event: Event) => void;
  #target: EventTarget | undefined;
  #connected = false;

  constructor(of: () => EventTarget | undefined, names: readonly string[], act: (event: Event) => void) {
    this.#of = of;
    this.#names = names;
    this.#act = act;
  }

  hostConnected(): void {
    this.#connected = true;
    this.#listen();
  }

  /** Lit also updates an element that has left the page, if the update was requested before. It must not listen again. */
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
