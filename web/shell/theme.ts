/** Light, dark, or the system's theme; this browser remembers it. */

/** The visitor's choice. */
export type Theme = "auto" | "light" | "dark";

const key = "ringside.theme";

/** The theme chosen earlier. */
export function chosenTheme(): Theme {
  try {
    const stored = localStorage.getItem(key);
    return stored === "light" || stored === "dark" ? stored : "auto";
  } catch {
    return "auto"; // The page may not use the storage: the choice lasts as long as the page.
  }
}

/** Applies a theme to the document and remembers it. */
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
