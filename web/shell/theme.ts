/** Light, dark, or as the system says; remembered in this browser. */

/** What a person chose. */
export type Theme = "auto" | "light" | "dark";

const key = "ringside.theme";

/** The theme chosen earlier. */
export function chosenTheme(): Theme {
  try {
    const stored = localStorage.getItem(key);
    return stored === "light" || stored === "dark" ? stored : "auto";
  } catch {
    return "auto"; // Storage may be closed to the page; the choice then lasts as long as the page.
  }
}

/** Puts a theme on the document and remembers it. */
export function setTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem(key);
    else localStorage.setItem(key, theme);
  } catch {
    // As above.
  }
}
