/** Highlighting of WGSL: enough to read it, no more. */
import {
  HighlightStyle,
  LanguageSupport,
  StreamLanguage,
  type StringStream,
  syntaxHighlighting,
} from "@codemirror/language";
import { tags } from "@lezer/highlight";

const KEYWORDS = new Set(
  ("alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if " +
    "let loop override requires return struct switch true var while").split(" "),
);
const TYPES =
  /^(?:bool|[iuf](?:16|32)|vec[234](?:[iufh])?|mat[234]x[234](?:[fh])?|array|atomic|ptr|sampler(?:_comparison)?|texture_\w+)$/;

interface State {
  /** Depth of block comments, which nest. */
  comment: number;
}

function token(stream: StringStream, state: State): string | null {
  if (state.comment > 0) {
    if (stream.match("/*")) state.comment++;
    else if (stream.match("*/")) state.comment--;
    else stream.next();
    return "comment";
  }
  if (stream.eatSpace()) return null;
  if (stream.match("//")) {
    stream.skipToEnd();
    return "comment";
  }
  if (stream.match("/*")) {
    state.comment = 1;
    return "comment";
  }
  if (stream.match(/^@\w+/)) return "meta";
  if (stream.match(/^(?:0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?|\d*\.?\d+\.?(?:[eE][+-]?\d+)?)[iufh]?/)) return "number";
  const word = stream.match(/^[A-Za-z_]\w*/) as RegExpMatchArray | null;
  if (word === null) {
    stream.next();
    return null;
  }
  if (KEYWORDS.has(word[0])) return "keyword";
  return TYPES.test(word[0]) ? "typeName" : null;
}

const language = StreamLanguage.define<State>({
  name: "wgsl",
  startState: () => ({ comment: 0 }),
  token,
  languageData: {
    commentTokens: { line: "//", block: { open: "/*", close: "*/" } },
    closeBrackets: { brackets: ["(", "[", "{"] },
  },
});

// The page's own tokens: weight and shade, not many colours.
const style = HighlightStyle.define([
  { tag: tags.comment, color: "var(--ink-2)", fontStyle: "italic" },
  { tag: tags.keyword, fontWeight: "700" },
  { tag: [tags.meta, tags.typeName], color: "var(--accent)" },
]);

/** WGSL for CodeMirror. */
export const wgsl = () => new LanguageSupport(language, syntaxHighlighting(style));
