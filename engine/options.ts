/** Checks the names of options: rejects unknown ones and suggests the nearest known one. */
import { InputError } from "./errors.ts";

/**
 * Throws InputError if `given` is no object, or has a field that is not in `known`. `what` is the call with the options.
 */
export function refuseUnknown(what: string, given: unknown, known: readonly string[]): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InputError(`${what}: found ${sayValue(given)}, expected an object with options of ${known.join(", ")}`);
  }
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new InputError(
    `${what}: found the option ${JSON.stringify(unknown)}, expected ${known.join(", ")}${didYouMean(unknown, known)}`,
  );
}

/** `; did you mean "x"?`, or an empty text if no name is near. `show` writes the name. */
export function didYouMean(
  name: string,
  known: readonly string[],
  show: (name: string) => string = (near) => JSON.stringify(near),
): string {
  const near = nearest(name, known);
  return near === undefined ? "" : `; did you mean ${show(near)}?`;
}

/**
 * The known name that differs least, in at most a third of its letters, or the only one that begins with `name`.
 * Capitals, - and _ don't count.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  const wanted = plain(name);
  if (wanted === "") return undefined;
  const ranked = known.map((word) => ({ word, off: edits(wanted, plain(word)) })).sort((a, b) => a.off - b.off);
  const best = ranked.find(({ word, off }) => off <= Math.max(1, Math.floor(plain(word).length / 3)));
  if (best !== undefined) return best.word;
  const begun = wanted.length < 2 ? [] : known.filter((word) => plain(word).startsWith(wanted));
  return begun.length === 1 ? begun[0] : undefined;
}

/** A value in a message: short, for any value. */
export function sayValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "function") return "a function";
  return typeof value === "object" && value !== null
    ? `an object (${value.constructor?.name ?? "without a class"})`
    : String(value);
}

/** The least letters to insert, drop, replace or swap with a neighbour to get from `a` to `b`. */
function edits(a: string, b: string): number {
  let [before, above] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        above[j] + 1,
        row[j - 1] + 1,
        above[j - 1] + Number(a[i - 1] !== b[j - 1]),
        swapped ? before[j - 2] + 1 : Infinity,
      );
    }
    [before, above] = [above, row];
  }
  return above[b.length];
}
