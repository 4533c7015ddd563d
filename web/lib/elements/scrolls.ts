/** A scrolling box can have the keyboard's focus while it holds more than it shows. */
import { type ElementPart, noChange } from "lit";
import { AsyncDirective, directive } from "lit/async-directive.js";

class Scrolls extends AsyncDirective {
  #box: Element | undefined;
  #label: string | undefined;
  readonly #sizes = new ResizeObserver(() => this.#measure());
  readonly #children = new MutationObserver(() => this.#watch());

  render(_label?: string): unknown {
    return noChange;
  }

  override update({ element }: ElementPart, [label]: [label?: string]): unknown {
    this.#label = label;
    if (this.#box === undefined) {
      this.#box = element;
      element.addEventListener("slotchange", () => this.isConnected && this.#watch());
      this.#watch();
    }
    return noChange;
  }

  /** The content can grow while the box does not, so this watches each child, and each element of a slot. */
  #watch(): void {
    const box = this.#box!;
    this.#sizes.disconnect();
    const held = [...box.children].flatMap((
      child,
    ) => (child instanceof HTMLSlotElement ? child.assignedElements() : [child]));
    for (const element of [box, ...held]) this.#sizes.observe(element);
    this.#children.observe(box, { childList: true });
  }

  #measure(): void {
    const box = this.#box!;
    const { overflowX, overflowY } = getComputedStyle(box);
    const moves = (overflow: string) => overflow === "auto" || overflow === "scroll";
    const [wide, tall] = [box.scrollWidth > box.clientWidth, box.scrollHeight > box.clientHeight];
    const scrolls = (wide && moves(overflowX)) || (tall && moves(overflowY));
    box.toggleAttribute("data-scrolls", scrolls);
    const set = { tabindex: "0", ...(this.#label === undefined ? {} : { role: "region", "aria-label": this.#label }) };
    for (const [name, value] of Object.entries(set)) {
      if (scrolls) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  }

  protected override disconnected(): void {
    this.#sizes.disconnect();
    this.#children.disconnect();
  }

  protected override reconnected(): void {
    this.#watch();
  }
}

/** `<div ${scrolls("Terms of the sum")}>`: the label names the box while it scrolls. Omit it if the box has a name. */
export const scrolls = directive(Scrolls);
