/** The document of `ringside_worker.gpu_check`, read without trust: what it ran on, its bars, and its figures as tables. */
import { NotARun } from "./record.ts";

type Json = Readonly<Record<string, unknown>>;

/** A bar that the check holds itself to. */
export interface Bar {
  readonly name: string;
  readonly measured: string;
  readonly bar: string;
  /** Undefined where it was not measured. */
  readonly pass: boolean | undefined;
}

/** A table of figures: a list of the document whose items have like fields. */
export interface Figures {
  /** Path in the document: "ring.128000". */
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The document as it is shown. */
export interface CheckDocument {
  /** ISO 8601. */
  readonly date?: string;
  readonly device?: string;
  /** Whether a GPU computed it. */
  readonly gpu: boolean;
  readonly bars: readonly Bar[];
  readonly figures: readonly Figures[];
}

/** Bounds on what is shown of a document. */
const MOST = { depth: 6, tables: 60, rows: 500, columns: 24 };

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a file is such a document. */
export function isCheck(json: unknown): boolean {
  return isObject(json) && json.check === "ringside_worker.gpu_check";
}

/** Reads one. Errors: NotARun. */
export function readCheck(json: unknown): CheckDocument {
  if (!isObject(json)) throw new NotARun("the file: expected an object");
  const bars = Array.isArray(json.bars) ? json.bars.filter(isObject).slice(0, MOST.rows).map(readBar) : [];
  const figures: Figures[] = [];
  const { bars: _bars, ...rest } = json;
  collect("", rest, figures, 0);
  return { ...(typeof json.date === "string" ? { date: json.date.slice(0, 40) } : {}), ...(typeof json.device === "string" ? { device: json.device.slice(0, 200) } : {}), gpu: json.gpu === true, bars, figures };
}

function readBar(bar: Json): Bar {
  return { name: say(bar.name), measured: say(bar.measured), bar: say(bar.bar), pass: typeof bar.pass === "boolean" ? bar.pass : undefined };
}

/** Lists of objects become tables, fields of an object a table of two columns, and what lies deeper tables of its own. */
function collect(name: string, value: unknown, out: Figures[], depth: number): void {
  if (depth > MOST.depth || out.length >= MOST.tables) return;
  if (Array.isArray(value)) {
    const rows = value.filter(isObject).slice(0, MOST.rows).map(flat);
    const columns = [...new Set(rows.flatMap((row) => [...row.keys()]))].slice(0, MOST.columns);
    if (rows.length > 0) out.push({ name, columns, rows: rows.map((row) => columns.map((column) => row.get(column) ?? "–")) });
    return;
  }
  if (!isObject(value)) return;
  const plain = Object.entries(value).filter(([, v]) => !isObject(v) && !(Array.isArray(v) && v.some(isObject)));
  if (plain.length > 0) out.push({ name: name === "" ? "Run" : name, columns: ["", ""], rows: plain.slice(0, MOST.rows).map(([key, v]) => [key, say(v)]) });
  for (const [key, v] of Object.entries(value)) if (isObject(v) || (Array.isArray(v) && v.some(isObject))) collect(name === "" ? key : `${name}.${key}`, v, out, depth + 1);
}

/** Fields of an item, those of an object within it by path. */
function flat(item: Json): Map<string, string> {
  const out = new Map<string, string>();
  const walk = (prefix: string, value: Json, depth: number) => {
    for (const [key, v] of Object.entries(value)) {
      if (isObject(v) && depth < 2) walk(`${prefix}${key}.`, v, depth + 1);
      else out.set(`${prefix}${key}`, say(v));
    }
  };
  walk("", item, 0);
  return out;
}

/** A value in a few characters; numbers with four digits. */
function say(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
  if (typeof value === "string") return value.length > 200 ? `${value.slice(0, 199)}…` : value;
  if (value === undefined || value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  const text = Array.isArray(value) ? value.map(say).join(", ") : JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 199)}…` : text;
}
