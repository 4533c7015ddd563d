/** Hovering a value lights it up everywhere in the chapter: all elements with the same `data-v`. */

/** Watches a root until the signal ends. */
export function lightTogether(root: ShadowRoot, signal: AbortSignal): void {
  let lit = "";
  const light = (key: string) => {
    if (key === lit) return;
    lit = key;
    for (const element of root.querySelectorAll("[data-lit]")) element.removeAttribute("data-lit");
    if (key !== "") {
      for (const element of root.querySelectorAll(`[data-v="${CSS.escape(key)}"]`)) {
        element.setAttribute("data-lit", "");
      }
    }
  };
  const under = (event: Event) => light((event.target as Element).closest?.("[data-v]")?.getAttribute("data-v") ?? "");
  root.addEventListener("pointerover", under, { signal });
  root.addEventListener("pointerleave", () => light(""), { signal });
}
