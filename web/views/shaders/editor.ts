/**
 * The editor of a WGSL text: CodeMirror, with the compiler's messages at their lines. It marks the lines that the host
 * rewrites and those that differ from the shipped text.
 */
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentUnit } from "@codemirror/language";
import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Range, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { css, html, LitElement, type PropertyValues, type TemplateResult } from "lit";
import { type Message, SPECIALISED } from "../../engine/kernels.ts";
import { shared } from "../../lib/elements/style.ts";
import { changedLines } from "./changes.ts";
import { wgsl } from "./wgsl.ts";

const REWRITTEN = Decoration.line({
  class: "host-line",
  attributes: { title: "The host rewrites this line for other head sizes and storage types" },
});
const CHANGED = Decoration.line({ class: "changed-line" });
const setBase = StateEffect.define<string>();

/** Marks whole lines. Both marks depend only on the text and the shipped text. */
const marks = StateField.define<{ readonly base: string; readonly set: DecorationSet }>({
  create: () => ({ base: "", set: Decoration.none }),
  update(value, transaction) {
    const given = transaction.effects.find((effect) => effect.is(setBase)) as StateEffect<string> | undefined;
    if (given === undefined && !transaction.docChanged) return value;
    const base = given?.value ?? value.base;
    const { doc } = transaction.state;
    const changed = changedLines(base, doc.toString());
    const ranges: Range<Decoration>[] = [];
    for (let n = 1; n <= doc.lines; n++) {
      const line = doc.line(n);
      if (changed.has(n)) ranges.push(CHANGED.range(line.from));
      if (SPECIALISED.test(line.text)) ranges.push(REWRITTEN.range(line.from));
    }
    return { base, set: Decoration.set(ranges, true) };
  },
  provide: (field) => EditorView.decorations.from(field, ({ set }) => set),
});

/** `<ringside-wgsl .text .base .document .messages label>`: fires "edit" with the text after each change. */
export class RingsideWgsl extends LitElement {
  static override properties = {
    text: { attribute: false },
    base: { attribute: false },
    document: { attribute: false },
    messages: { attribute: false },
    label: {},
  };

  declare text: string;
  /** The shipped text, for the marks of changed lines. */
  declare base: string;
  /** Each document has its own undo history. */
  declare document: string;
  declare messages: readonly Message[];
  declare label: string;
  #view: EditorView | undefined;

  constructor() {
    super();
    this.text =
      this.base =
      this.document =
      this.label =
        "";
    this.messages = [];
  }

  /** Moves the cursor to a line, scrolls there and focuses the editor. */
  goTo(line: number, column = 1): void {
    const view = this.#view;
    if (view === undefined) return;
    const { from, to } = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
    const anchor = Math.min(to, from + Math.max(0, column - 1));
    view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
    view.focus();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#view?.destroy();
    this.#view = undefined;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.requestUpdate("document", null);
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (this.#view === undefined) {
      this.#view = new EditorView({
        parent: this.renderRoot.querySelector(".host")!,
        root: this.renderRoot as ShadowRoot,
        state: this.#state(),
      });
      this.#mark();
    } else if (changed.has("document") || changed.has("label")) {
      this.#view.setState(this.#state());
      this.#mark();
    } else if (changed.has("text") && this.text !== this.#view.state.doc.toString()) {
      this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: this.text } });
    }
    if (changed.has("base")) this.#mark();
    if (changed.has("messages") || changed.has("document")) {
      this.#view.dispatch(
        setDiagnostics(this.#view.state, this.messages.flatMap((message) => this.#diagnostic(message))),
      );
    }
  }

  #mark(): void {
    this.#view!.dispatch({ effects: setBase.of(this.base) });
  }

  #diagnostic({ kind, line, column, length, message }: Message): Diagnostic[] {
    const { doc } = this.#view!.state;
    if (line < 1 || line > doc.lines) return [];
    const { from, to } = doc.line(line);
    const start = Math.min(to, from + Math.max(0, column - 1));
    return [{
      from: start,
      to: Math.max(start, Math.min(doc.length, start + Math.max(1, length))),
      severity: kind,
      message,
    }];
  }

  #state(): EditorState {
    return EditorState.create({
      doc: this.text,
      extensions: [
        lineNumbers(),
        highlightActiveLineGutter(),
        highlightActiveLine(),
        history(),
        drawSelection(),
        bracketMatching(),
        wgsl(),
        indentUnit.of("  "),
        lintGutter(),
        marks,
        // Tab indents. Escape, then Tab, leaves the editor: CodeMirror's own way out.
        keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
        EditorView.contentAttributes.of({
          "aria-label": this.label,
          "aria-describedby": "way-out",
          tabindex: "0",
          autocapitalize: "off",
          spellcheck: "false",
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.dispatchEvent(new CustomEvent("edit", { detail: update.state.doc.toString() }));
        }),
        look,
      ],
    });
  }

  protected override render(): TemplateResult {
    return html`
      <div class="host"></div>
      <p id="way-out">
        Tab indents; <kbd>Esc</kbd>, then <kbd>Tab</kbd>, leaves the editor.
        Lines with a bar differ from the shipped text. The host rewrites shaded lines.
      </p>
    `;
  }

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        grid-template-rows: minmax(0, 1fr) auto;
        min-height: 0;
        min-width: 0;
      }
      .host {
        min-height: 0;
        min-width: 0;
        border: 1px solid var(--rule);
        border-radius: var(--radius);
        overflow: hidden;
      }
      .host:focus-within {
        border-color: var(--accent);
        box-shadow: 0 0 0 1px var(--accent);
      }
      p {
        padding-top: 4px;
        font-size: var(--small);
        line-height: 16px;
        color: var(--ink-2);
      }
      kbd {
        font: inherit;
        font-weight: 600;
      }
    `,
  ];
}

const look = EditorView.theme({
  "&": { height: "100%", fontSize: "12px", color: "var(--ink)", backgroundColor: "var(--paper)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "18px", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)", padding: "8px 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": {
    backgroundColor: "var(--sunken)",
    color: "var(--ink-2)",
    border: "0",
    borderRight: "1px solid var(--rule)",
  },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in oklab, var(--ink) 5%, transparent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "color-mix(in oklab, var(--accent) 24%, transparent)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "transparent", outline: "1px solid var(--rule-strong)" },
  ".host-line": { backgroundColor: "var(--sunken)" },
  ".changed-line": { boxShadow: "inset 3px 0 var(--accent)" },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)",
    border: "1px solid var(--rule-strong)",
    color: "var(--ink)",
    maxWidth: "560px",
  },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
  ".cm-diagnostic-warning": { borderLeftColor: "var(--warn)" },
});

customElements.define("ringside-wgsl", RingsideWgsl);
