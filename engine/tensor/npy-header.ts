/** Parses the dictionary in a .npy header: a Python literal, read as strictly as numpy writes it, never evaluated. */
import { InputError } from "../errors.ts";
import { isShape } from "./tensor.ts";

/** The array as its header describes it. */
export interface NpyHeader {
  /** numpy's name of the dtype, such as "<f4". */
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

const KEYS = ["descr", "fortran_order", "shape"] as const;
type Key = (typeof KEYS)[number];

const KEY = /\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*:\s*/y;
/** A string, a word, or a tuple without tuples in it. A structured dtype is a list, so none of these. */
const VALUE = /'[^'\\]*'|"[^"\\]*"|\w+|\([^()]*\)/y;
const LENGTH = /^(?:0|[1-9][0-9]*)$/;

/**
 * Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`: these three keys, each once, in any order.
 * Anything else throws an InputError; `name` is the file's name in it.
 */
export function parseNpyHeader(text: string, name: string): NpyHeader {
  const values = parseDictionary(text, name);
  const missing = KEYS.filter((key) => !values.has(key));
  if (missing.length > 0) {
    throw bad(
      name,
      `no ${missing.map((key) => `'${key}'`).join(", ")} in ${quote(text)}`,
      "the keys 'descr', 'fortran_order' and 'shape'",
    );
  }
  return {
    descr: parseDescr(values.get("descr")!, name),
    fortranOrder: parseBoolean(values.get("fortran_order")!, name),
    shape: parseShape(values.get("shape")!, name),
  };
}

/** The text of each value. */
function parseDictionary(text: string, name: string): Map<Key, string> {
  const malformed = (at: number) =>
    bad(
      name,
      `${quote(text.slice(at))} at character ${at}`,
      "a dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
    );
  const values = new Map<Key, string>();
  const end = text.trimEnd().length - 1;
  if (text[0] !== "{") throw malformed(0);
  if (text[end] !== "}") throw malformed(Math.max(0, end));
  let at = 1;
  while (text.slice(at, end).trim() !== "") {
    const found = match(KEY, text, at);
    if (found === null) throw malformed(at);
    const key = found[1] ?? found[2];
    if (!isKey(key)) throw bad(name, `key ${quote(key)}`, "only 'descr', 'fortran_order' and 'shape'");
    if (values.has(key)) throw bad(name, `key '${key}' twice`, "each key once");
    at = KEY.lastIndex;
    const value = match(VALUE, text, at);
    if (value === null && key === "descr") {
      throw bad(name, `descr ${quote(text.slice(at, end))}, a structured dtype`, "'<f4' or '<f2'");
    }
    if (value === null) throw malformed(at);
    values.set(key, value[0]);
    at = VALUE.lastIndex;
    while (text[at] === " ") at++;
    if (text[at] === ",") at++;
    else if (at !== end) throw malformed(at);
  }
  return values;
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function isKey(key: string): key is Key {
  return (KEYS as readonly string[]).includes(key);
}

function parseDescr(value: string, name: string): string {
  if (value[0] !== "'" && value[0] !== '"') throw bad(name, `descr ${quote(value)}`, "a string: '<f4' or '<f2'");
  return value.slice(1, -1);
}

function parseBoolean(value: string, name: string): boolean {
  if (value !== "True" && value !== "False") throw bad(name, `fortran_order ${quote(value)}`, "True or False");
  return value === "True";
}

function parseShape(value: string, name: string): number[] {
  const problem = () =>
    bad(name, `shape ${quote(value)}`, "a tuple of non-negative whole numbers below 2^53, such as (3, 4), (3,) or ()");
  if (value[0] !== "(") throw problem();
  const inside = value.slice(1, -1).trim();
  if (inside === "") return [];
  const parts = inside.split(",").map((part) => part.trim());
  if (parts.length === 1) throw problem(); // (3) is a number in Python; a tuple of one is (3,)
  if (parts.at(-1) === "") parts.pop();
  const shape = parts.map((part) => (LENGTH.test(part) ? Number(part) : NaN));
  if (!isShape(shape)) throw problem();
  return shape;
}

function bad(name: string, found: string, expected: string): InputError {
  return new InputError(`${name}: .npy header: found ${found}, expected ${expected}`);
}

/** The start of a text from a file, on one line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}
