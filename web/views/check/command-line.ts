/** The same question as a command line, to copy. */
import { html, LitElement, type TemplateResult } from "lit";
import { scrolls } from "../../lib/elements/scrolls.ts";
import { shared } from "../../lib/elements/style.ts";
import { viewStyle } from "../../lib/elements/view-style.ts";
import { checkStyle } from "./style.ts";

/** `<ringside-command-line line>`. */
export class RingsideCommandLine extends LitElement {
  static override properties = { line: {}, _said: { state: true } };

  declare line: string;
  /** The button's text after a copy, and the line that was copied. */
  declare _said: { readonly of: string; readonly text: string } | undefined;

  async #copy(): Promise<void> {
    const of = this.line;
    try {
      await navigator.clipboard.writeText(of);
      this._said = { of, text: "Copied" };
    } catch {
      this._said = { of, text: "The browser refused: select the line" };
    }
  }

  protected override render(): TemplateResult {
    return html`
      <p class="command" ${scrolls("Command line")}><code>${this.line}</code></p>
      <p class="actions"><button class="button" @click=${this.#copy}>${this._said?.of === this.line
        ? this._said.text
        : "Copy"}</button></p>
    `;
  }

  static override styles = [shared, viewStyle, checkStyle];
}

/** The section of a command line. */
export function commandLine(line: string): TemplateResult {
  return html`
    <section aria-labelledby="command">
      <h2 id="command" class="title">The same by command line</h2>
      <ringside-command-line line=${line}></ringside-command-line>
    </section>
  `;
}

customElements.define("ringside-command-line", RingsideCommandLine);
