/** Prints a document of another program, whose fields we don't know, as lines and tables. */
import { table } from "./table.ts";

type Value = Readonly<Record<string, unknown>>;

/** Plain fields as lines, lists of objects as tables, and inner objects under their path. */
export function sayValue(value: Value, path = ""): string {
  const lines: string[] = [];
  const parts: string[] = [];
  for (const [name, x] of Object.entries(value)) {
    const at = path === "" ? name : `${path}.${name}`;
    if (isList(x)) {
      parts.push(
        x.length === 0 ? "" : `${at}\n${tableOf(x)}`,
        ...x.flatMap((item, i) =>
          Object.entries(item).filter(([, inner]) => isList(inner)).map(([key, inner]) =>
            sayValue({ [key]: inner }, `${at}[${i}]`)
          )
        ),
      );
    } else if (isValue(x)) parts.push(sayValue(x, at));
    else lines.push(`${at}: ${say(x)}`);
  }
  return [lines.join("\n"), ...parts].filter((part) => part !== "").join("\n\n");
}

function tableOf(items: readonly Value[]): string {
  const flat = items.map((item) => new Map(fields(item, "")));
  const columns = [...new Set(flat.flatMap((item) => [...item.keys()]))];
  return table(columns, flat.map((item) => columns.map((column) => item.get(column) ?? "")));
}

function fields(item: Value, path: string): [string, string][] {
  return Object.entries(item).flatMap(([name, x]): [string, string][] => {
    const at = path === "" ? name : `${path}.${name}`;
    return isList(x) ? [] : isValue(x) ? fields(x, at) : [[at, say(x)]];
  });
}

function say(x: unknown): string {
  if (typeof x === "number") return Number.isInteger(x) ? String(x) : x.toPrecision(4);
  return typeof x === "string" ? x : Array.isArray(x) ? x.map(say).join(", ") : JSON.stringify(x);
}

function isValue(x: unknown): x is Value {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

function isList(x: unknown): x is Value[] {
  return Array.isArray(x) && x.every(isValue);
}
