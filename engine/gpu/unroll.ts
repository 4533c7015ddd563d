/**
 * Unrolls marked loops of a WGSL text: a driver that leaves such a loop rolled keeps the arrays that it indexes in
 * memory, not in registers.
 */

const LOOP = /for \(var (\w+): u32 = 0u; \1 < ([^;]+); \1\+\+\) \{ *\/\/ unroll$/m;

/**
 * Unrolls every loop `for (var i: u32 = 0u; i < BOUND; i++) { // unroll`. BOUND is a sum or product of the text's
 * constants. Copies after the first share its last line, so lines keep their numbers.
 */
export function unrolled(text: string): string {
  const constants = new Map<string, number>();
  for (const [, name, expression] of text.matchAll(/^const (\w+): u32 = ([\w\s()+*/-]+);/gm)) {
    const value = evaluate(expression, constants);
    if (value !== undefined) constants.set(name, value);
  }
  const write = (source: string): string => {
    const found = LOOP.exec(source);
    if (found === null) return source;
    const [header, index, bound] = found;
    const turns = evaluate(bound, constants);
    if (turns === undefined) {
      throw new Error(`unroll: found the bound ${bound}, expected a sum or product of constants and numbers`);
    }
    const start = found.index + header.length;
    const end = closing(source, start);
    const body = write(source.slice(start, end));
    const copy = (turn: number) => `{${body.replace(new RegExp(`\\b${index}\\b`, "g"), `${turn}u`)}}`;
    const inOneLine = (code: string) => code.replace(/\/\/.*$/gm, "").replace(/\s*\n\s*/g, " ");
    const copies = Array.from({ length: turns }, (_, turn) => (turn === 0 ? copy(turn) : inOneLine(copy(turn))));
    return source.slice(0, found.index) + (turns === 0 ? body.replace(/[^\n]/g, "") : copies.join(" ")) +
      write(source.slice(end + 1));
  };
  return write(text);
}

/** Where the brace that opened before `at` closes. */
function closing(text: string, at: number): number {
  for (let depth = 1, i = at; i < text.length; i++) {
    if (text[i] === "{") depth++;
    else if (text[i] === "}" && --depth === 0) return i;
  }
  throw new Error("unroll: a loop's brace does not close");
}

/** The value of a sum or product of whole numbers, as u32 computes it; undefined if it contains anything else. */
function evaluate(expression: string, constants: ReadonlyMap<string, number>): number | undefined {
  const tokens = expression.match(/\w+|[-+*/()]/g) ?? [];
  let next = 0;
  const atom = (): number => {
    const token = tokens[next++] ?? "";
    if (token !== "(") return /^\d+u?$/.test(token) ? parseInt(token) : constants.get(token) ?? NaN;
    const value = sum();
    return tokens[next++] === ")" ? value : NaN;
  };
  const product = (): number => {
    let value = atom();
    while (tokens[next] === "*" || tokens[next] === "/") {
      value = tokens[next++] === "*" ? value * atom() : Math.floor(value / atom());
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[next] === "+" || tokens[next] === "-") {
      value = tokens[next++] === "+" ? value + product() : value - product();
    }
    return value;
  };
  const value = sum();
  return next === tokens.length && Number.isInteger(value) && value >= 0 ? value : undefined;
}
