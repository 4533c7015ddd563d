/** Tells an element the width of its plot while the element is on the page. */
import type { LitElement, ReactiveController } from "lit";

/** Watches the element's `.plot`, which exists after the first update. */
export class Width implements ReactiveController {
  readonly #host: LitElement;
  readonly #observer: ResizeObserver;
  #plot: Element | null = null;

  /** `take` gets the width in whole pixels, at least 240. */
  constructor(host: LitElement, take: (width: number) => void) {
    this.#host = host;
    this.#observer = new ResizeObserver(([entry]) => take(Math.max(240, Math.floor(entry.contentRect.width))));
    host.addController(this);
  }

  hostConnected(): void {
    this.#watch();
  }

  hostUpdated(): void {
    this.#watch();
  }

  hostDisconnected(): void {
    this.#watch();
  }

  #watch(): void {
    const plot = this.#host.isConnected ? (this.#host.renderRoot?.querySelector(".plot") ?? null) : null;
    if (plot === this.#plot) return;
    this.#observer.disconnect();
    if (plot !== null) this.#observer.observe(plot);
    this.#plot = plot;
  }
}
