/** The rail: the name, one entry per view, and the theme. */
import { css, html, LitElement, type TemplateResult } from "lit";
import { chosenTheme, setTheme, type Theme } from "./theme.ts";
import { views } from "./views.ts";
import { scrolls } from "../lib/elements/scrolls.ts";
import { shared } from "../lib/elements/style.ts";

const themes: readonly Theme[] = ["auto", "light", "dark"];
const icons: Readonly<Record<Theme, string>> = {
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  light: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22" +
    "M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8M19.1 4.9l-1.8 1.8M6.7 17.3l-1.8 1.8",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
};

const logo = html`
  <svg viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">
    <circle cx="16" cy="16" r="10" />
    <circle class="dot" cx="16" cy="6" r="4" />
    <circle class="dot" cx="26" cy="16" r="4" />
    <circle class="dot" cx="16" cy="26" r="4" />
    <circle class="dot" cx="6" cy="16" r="4" />
  </svg>
`;

/** `<ringside-rail .current>`. */
export class RingsideRail extends LitElement {
  static override properties = { current: {}, _theme: { state: true } };

  /** Id of the open view. */
  declare current: string;
  declare _theme: Theme;

  constructor() {
    super();
    this.current = "";
    this._theme = chosenTheme();
  }

  #turn(): void {
    this._theme = themes[(themes.indexOf(this._theme) + 1) % themes.length];
    setTheme(this._theme);
  }

  protected override render(): TemplateResult {
    return html`
      <header>
        <h1>${logo}<span>Ringside</span></h1>
        <nav ${scrolls()} aria-label="Views">
          <ul>
              ${views.map(({ id, title, icon }) =>
                html`<li><a href="#${id}" aria-current=${id === this.current ? "page" : "false"}>${
                  drawing(icon)
                }<span>${title}</span></a></li>`
              )}
            </ul>
        </nav>
        <button class="theme" @click=${this.#turn} aria-label="Theme: ${this._theme}"
          title="Theme: ${this._theme}">${drawing(icons[this._theme], this._theme === "auto")}<span>${this
            ._theme}</span></button>
      </header>
    `;
  }

  static override styles = [
    shared,
    css`
      header {
        display: flex;
        height: 100%;
        flex-direction: column;
        align-items: stretch;
        gap: 16px;
        padding: 16px 4px;
        background: var(--sunken);
        border-right: 1px solid var(--rule);
        font-size: var(--small);
        line-height: 16px;
      }
      h1,
      a,
      .theme {
        display: flex;
        flex-direction: column;
        align-items: center;
        gap: 4px;
      }
      h1 {
        font-size: var(--small);
        font-weight: 600;
        margin-bottom: 8px;
      }
      h1 circle {
        fill: none;
        stroke: var(--ink);
        stroke-width: 2;
      }
      h1 .dot {
        fill: var(--ink);
        stroke: var(--sunken);
      }
      nav {
        flex: 1;
      }
      ul {
        list-style: none;
      }
      a,
      .theme {
        width: 100%;
        padding: 8px 4px;
        border: 0;
        border-radius: var(--radius);
        background: none;
        color: var(--ink-2);
        text-decoration: none;
        cursor: pointer;
        text-transform: capitalize;
      }
      a:hover,
      .theme:hover {
        color: var(--ink);
      }
      a[aria-current="page"] {
        background: var(--paper);
        color: var(--ink);
        font-weight: 600;
        box-shadow: inset 0 0 0 1px var(--rule);
      }
      .drawing {
        width: 24px;
        height: 24px;
        fill: none;
        stroke: currentColor;
        stroke-width: 1.6;
        stroke-linecap: round;
        stroke-linejoin: round;
      }
      .half path:first-child {
        fill: currentColor;
      }
      @media (max-width: 640px) {
        header,
        h1,
        a,
        .theme {
          flex-direction: row;
          align-items: center;
        }
        header {
          padding: 4px 12px;
          border-right: 0;
          border-bottom: 1px solid var(--rule);
        }
        h1 {
          margin: 0;
          font-size: 14px;
        }
        h1 svg {
          width: 24px;
          height: 24px;
        }
        nav {
          min-width: 0;
        }
        ul {
          display: flex;
          flex-wrap: wrap;
        }
        a,
        .theme {
          width: auto;
          padding: 4px 8px;
        }
        header {
          gap: 8px;
        }
        /* Only the open view shows its name. Screen readers read the others' names too. */
        a:not([aria-current="page"]) span,
        .theme span {
          position: absolute;
          width: 1px;
          height: 1px;
          overflow: hidden;
          clip-path: inset(50%);
          white-space: nowrap;
        }
        nav {
          min-width: 0;
          overflow-x: auto;
        }
      }
      /* Only the drawings of all views fit. */
      @media (max-width: 480px) {
        header {
          gap: 4px;
          padding: 4px 8px;
        }
        h1 span,
        a span {
          position: absolute;
          width: 1px;
          height: 1px;
          overflow: hidden;
          clip-path: inset(50%);
          white-space: nowrap;
        }
        a,
        .theme {
          padding: 6px;
        }
      }
    `,
  ];
}

function drawing(path: string, half = false): TemplateResult {
  const [filled, rest] = half ? path.split("zM") : ["", path];
  return html`
    <svg class="drawing ${half ? "half" : ""}" viewBox="0 0 24 24" aria-hidden="true">
      <path d=${half ? `${filled}z` : ""} />
      <path d=${half ? `M${rest}` : rest} />
    </svg>
  `;
}

customElements.define("ringside-rail", RingsideRail);
