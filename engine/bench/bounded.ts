/**
 * Rewrites a kernel so that its loops end. A text runs in this form first: an endless loop can hold a GPU, and with it
 * the browser's drawing, until the browser is restarted.
 */
import { declarationsOf, withoutComments } from "../gpu/reflect.ts";

/** A loop of more turns counts as endless: the grid's experiments need some hundreds. */
export const MOST_TURNS = 8192;
/** The value of every LSE if a loop was cut off. No softmax of the grid comes near it. */
export const ENDLESS = 1e30;

/**
 * The text with every loop cut off after MOST_TURNS turns each time it is entered. An invocation that was cut off ends
 * by writing ENDLESS to all f32 outputs. Each loop counts with its own variable, so that control flow stays as uniform
 * as it was. Undefined if there is no such output.
 */
export function bounded(text: string): string | undefined {
  const { bindings, entries } = declarationsOf(text);
  const outputs = bindings.filter(({ kind, type }) => kind === "storage, read_write" && type === "array<f32>");
  if (outputs.length === 0 || entries.length === 0) return undefined;
  const bare = withoutComments(text);
  const cuts: { readonly at: number; readonly add: string }[] = [];

  [...bare.matchAll(/(?<![\w@.])(?:for|while|loop)(?!\w)/g)].forEach(({ index }, i) => {
    const body = bare.indexOf("{", index);
    if (body < 0) return;
    cuts.push({ at: index, add: `var ringside_turns${i}: u32 = 0u; ` });
    cuts.push({
      at: body + 1,
      add: ` ringside_turns${i} += 1u; if (ringside_turns${i} > ${MOST_TURNS}u) { ringside_endless = true; break; }`,
    });
  });

  const said = `if (ringside_endless) { ${
    outputs.map(({ name }) =>
      `for (var ringside_i: u32 = 0u; ringside_i < arrayLength(&${name}); ringside_i++) { ${name}[ringside_i] = ${
        ENDLESS.toExponential().replace("+", "")
      }; }`
    ).join(" ")
  } }`;
  const begin = bare.indexOf("{", bare.search(new RegExp(`fn\\s+${entries[0].name}\\s*\\(`)));
  const end = closing(bare, begin);
  if (begin < 0 || end < 0) return undefined;
  for (const { index } of bare.slice(begin, end).matchAll(/(?<!\w)return\s*;/g)) {
    cuts.push({ at: begin + index, add: `${said} ` });
  }
  cuts.push({ at: end, add: `${said} ` });

  // From the end, so that places stay. Of two cuts at one place, the later one goes behind.
  const made = cuts.sort((a, b) => b.at - a.at).reduce(
    (whole, { at, add }) => whole.slice(0, at) + add + whole.slice(at),
    text,
  );
  return `${made}\nvar<private> ringside_endless: bool = false;\n`;
}

/** Where the brace that opens at `begin` closes; -1 if it doesn't. */
function closing(bare: string, begin: number): number {
  let depth = 0;
  for (let at = begin; at < bare.length; at++) {
    if (bare[at] === "{") depth++;
    else if (bare[at] === "}" && --depth === 0) return at;
  }
  return -1;
}
