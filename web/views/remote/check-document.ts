/** The document of `ringside_worker.gpu_check`, read without trust: its machine, its bars, and its figures as tables. */
import { formatBytes, formatCount, formatError, formatFlops, formatTime } from "../../lib/format/format.ts";
import type { Complaint, Facts } from "../../engine/remote.ts";
import { agree, LIMITS, NotARun } from "./record.ts";
import { apart, sayApart } from "./apart.ts";

type Json = Readonly<Record<string, unknown>>;

/** A bar that the check must meet. */
export interface Bar {
  readonly name: string;
  readonly found: number | undefined;
  readonly sense: string;
  readonly bar: number;
  /** Undefined if it could not be judged; `why` says why. */
  readonly passed: boolean | undefined;
  readonly why: string;
}

/** A table of figures as text. */
export interface Figures {
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The document as the view shows it. */
export interface CheckDocument {
  /** ISO 8601. */
  readonly date: string;
  readonly gpu: boolean;
  readonly note: string;
  readonly facts: Facts;
  readonly bars: readonly Bar[];
  readonly figures: readonly Figures[];
  readonly skipped: readonly string[];
}

/** The most rows to read of a list. */
const MOST = 200;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const object = (value: unknown): Json => (isObject(value) ? value : {});
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.filter(isObject).slice(0, MOST) : []);
const number = (
  value: unknown,
): number | undefined => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
const text = (value: unknown): string => (typeof value === "string" ? value.slice(0, 300) : "");
const say = (
  value: unknown,
  format: (value: number) => string,
): string => (number(value) === undefined ? "–" : format(number(value)!));

/** Whether a file is such a document. */
export function isCheck(json: unknown): json is Json {
  return isObject(json) && json.what === "ringside_worker.gpu_check";
}

/** Reads one. Missing figures don't show. Errors: NotARun. */
export function readCheck(json: Json, complain: Complaint): CheckDocument {
  if (json.version !== 1) {
    throw new NotARun(`version: found ${JSON.stringify(json.version)}, expected 1; a newer worker may have written it`);
  }
  agree(complain, { type: "welcome", protocol: 1, facts: json.machine, limits: LIMITS, capabilities: [] }, "machine");
  const bars = list(json.bars).map((bar): Bar => ({
    name: text(bar.name),
    found: number(bar.found),
    sense: text(bar.sense),
    bar: number(bar.bar) ?? NaN,
    passed: typeof bar.passed === "boolean" ? bar.passed : undefined,
    why: text(bar.why),
  }));
  const gpu = json.ranOnGpu === true;
  return {
    date: text(json.date),
    gpu,
    note: text(json.note),
    facts: json.machine as Facts,
    bars,
    figures: [
      ceilings(object(json.ceilings)),
      ...list(json.attention).map(attention),
      passQ(list(json.passQ), gpu),
      decode(list(json.decode), gpu),
      layers(list(json.layer)),
    ].filter(({ rows }) => rows.length > 0),
    skipped: list(json.skipped).map(({ what, why }) => `${text(what)}: ${text(why)}`),
  };
}

function ceilings({ product, copy }: Json): Figures {
  const [p, c] = [object(product), object(copy)];
  return {
    name: "Ceilings",
    columns: ["", "Size", "Time", "Rate"],
    rows: [
      ...(number(p.rate) === undefined ? [] : [[
        `Matrix product, ${text(p.dtype)}`,
        `${say(p.n, formatCount)}³`,
        say(p.seconds, formatTime),
        say(p.rate, (rate) => `${formatFlops(rate)}/s`),
      ]]),
      ...(number(c.rate) === undefined ? [] : [[
        "Copy",
        say(c.bytes, formatBytes),
        say(c.seconds, formatTime),
        say(c.rate, (rate) => `${formatBytes(rate)}/s`),
      ]]),
    ],
  };
}

function attention(row: Json): Figures {
  const single = isObject(row.single) ? row.single : undefined;
  return {
    name: `Attention of ${say(row.tokens, formatCount)} tokens`,
    columns: ["", "Device time", "Rate", "Of one call", "Largest error"],
    rows: [
      ...(single === undefined ? [] : [[
        "One kernel call",
        say(single.seconds, formatTime),
        say(single.rate, (rate) => `${formatFlops(rate)}/s`),
        "1",
        say(single.error, formatError),
      ]]),
      ...list(row.rings).map((
        ring,
      ) => [
        `Ring, N = ${say(ring.ranks, formatCount)}`,
        say(ring.deviceSeconds, formatTime),
        say(row.flops, (flops) => say(ring.deviceSeconds, (seconds) => `${formatFlops(flops / seconds)}/s`)),
        say(ring.ofSingle, (share) => share.toFixed(3)),
        say(ring.error, formatError),
      ]),
    ],
  };
}

/** Without a GPU the sizes differ from the paper's, which is then no measure. */
function passQ(rows: readonly Json[], gpu: boolean): Figures {
  const faster = (name: unknown) => (name === "pass-q" ? "pass-Q" : name === "pass-kv" ? "pass-KV" : "–");
  return {
    name: "Both variants at the miss rates of Table 4",
    columns: ["New", "Cached", "Ranks", "pass-KV, one layer’s ring", "pass-Q", "Faster here", "Faster in the paper"],
    rows: rows.map((
      row,
    ) => [
      say(row.new, formatCount),
      say(row.cached, formatCount),
      say(row.ranks, formatCount),
      say(object(row["pass-kv"]).seconds, formatTime),
      say(object(row["pass-q"]).seconds, formatTime),
      faster(row.faster),
      gpu ? faster(object(row.paper).faster) : "–",
    ]),
  };
}

function decode(rows: readonly Json[], gpu: boolean): Figures {
  const paper = (row: Json) => (gpu ? number(object(row.paper).op) : undefined);
  return {
    name: "Decode of Table 8: one attention op",
    columns: ["Context", "Sequences", "Ranks", "Here", "Paper", "Differs"],
    rows: rows.map((
      row,
    ) => [
      say(row.context, formatCount),
      say(row.batch, formatCount),
      say(row.ranks, formatCount),
      say(row.op, formatTime),
      say(paper(row), formatTime),
      sayApart(apart(number(row.op), paper(row))),
    ]),
  };
}

function layers(rows: readonly Json[]): Figures {
  return {
    name: "Layer mode, and the TTFT that follows",
    columns: ["Tokens", "Ranks", "One layer", "TTFT", "Paper", "Differs"],
    rows: rows.map((
      row,
    ) => [
      say(row.tokens, formatCount),
      say(row.ranks, formatCount),
      say(row.layerSeconds, formatTime),
      say(row.ttft, formatTime),
      say(row.paper, formatTime),
      sayApart(apart(number(row.ttft), number(row.paper))),
    ]),
  };
}
