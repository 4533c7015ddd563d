/**
 * A run as a file: the experiment, the machine, the results, and the rows that this page verified. A file is checked
 * before it is shown.
 */
import type { Span, Variant } from "../../engine/run.ts";
import type { Complaint, Facts } from "../../engine/remote.ts";
import { draftOf, read, type RemoteExperiment } from "./model.ts";
import type { Verification, VerifiedRow } from "./verification.ts";

/** One variant's run. */
export interface Lap {
  readonly variant: Variant;
  /** From the call to its result, on the client's clock. */
  readonly seconds: number;
  /** The worker's report. */
  readonly value: Readonly<Record<string, unknown>>;
  readonly spans: readonly Span[];
  readonly verification?: Verification;
}

/** When, where and how a run was recorded. */
export interface Provenance {
  /** ISO 8601. */
  readonly date: string;
  /** The worker's command, as far as the client knows it, and the client that recorded the run. */
  readonly worker: string;
  readonly client: string;
}

/** The file. */
export interface RecordedRun {
  readonly format: "ringside-remote-run";
  readonly version: 1;
  readonly provenance: Provenance;
  readonly facts: Facts;
  readonly experiment: RemoteExperiment;
  readonly laps: readonly Lap[];
}

/** The most bytes of a file. */
export const MOST_BYTES = 32e6;
/** The most spans of a lap, and rows of a verification. */
const MOST_SPANS = 200_000;
const MOST_ROWS = 4096;
/** The most spans of one message. */
const SPANS_A_MESSAGE = 1000;

/** Why a file is not a recorded run. */
export class NotARun extends Error {}

function wrong(place: string, found: unknown, expected: string): never {
  const text = found === undefined ? "nothing" : JSON.stringify(found);
  throw new NotARun(`${place}: found ${text.length > 80 ? `${text.slice(0, 77)}…` : text}, expected ${expected}`);
}

type Json = Readonly<Record<string, unknown>>;

function object(value: unknown, place: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(place, value, "an object");
  return value as Json;
}

function list(value: unknown, place: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) wrong(place, value, "a list");
  const all = value as readonly unknown[];
  if (all.length > most) wrong(`${place}, length`, all.length, `at most ${most}`);
  return all;
}

function number(value: unknown, place: string, least = 0): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    wrong(place, value, `a number of at least ${least}`);
  }
  return value as number;
}

/** An error. JSON writes an infinite one as null. */
function error(value: unknown, place: string): number {
  return value === null ? Infinity : number(value, place);
}

function text(value: unknown, place: string, most = 500): string {
  if (typeof value !== "string" || value.length > most) wrong(place, value, `a text of at most ${most} characters`);
  return value as string;
}

/** The JSON of a file. Errors: NotARun. */
export function parse(json: string): unknown {
  if (json.length > MOST_BYTES) wrong("the file, bytes", json.length, `at most ${MOST_BYTES}`);
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new NotARun(
      `found no JSON (${
        error instanceof Error ? error.message : String(error)
      }), expected a run saved by the Remote view or the document of ringside_worker.gpu_check`,
    );
  }
}

/** Reads a run from JSON, without trust. Errors: NotARun with the place, what was found and what was expected. */
export function readRun(json: unknown, complain: Complaint): RecordedRun {
  const file = object(json, "the file");
  if (file.format !== "ringside-remote-run") wrong("format", file.format, '"ringside-remote-run"');
  if (file.version !== 1) wrong("version", file.version, "1; a newer Ringside may have written it");
  const given = object(file.provenance, "provenance");
  const provenance = {
    date: text(given.date, "provenance.date", 40),
    worker: text(given.worker, "provenance.worker", 1000),
    client: text(given.client, "provenance.client", 1000),
  };
  if (Number.isNaN(Date.parse(provenance.date))) {
    wrong("provenance.date", provenance.date, "a date as ISO 8601 writes it");
  }
  agree(complain, { type: "welcome", protocol: 1, facts: file.facts, limits: LIMITS, capabilities: [] }, "facts");
  const facts = file.facts as Facts;
  const experiment = readExperiment(file.experiment);
  const laps = list(file.laps, "laps", 2).map((lap, i) => readLap(lap, `laps[${i}]`, experiment, complain));
  if (laps.length === 0) wrong("laps, length", 0, "one or two");
  if (laps.length === 2 && laps[0].variant === laps[1].variant) {
    wrong("laps[1].variant", laps[1].variant, "the other variant");
  }
  return { format: "ringside-remote-run", version: 1, provenance, facts, experiment, laps };
}

/** Limits that a welcome must have and a file lacks. */
export const LIMITS = { frameBytes: 1024, tensorBytes: 0, runSeconds: 1, queue: 0, connections: 1, window: 1024 };

/** Checks a part of a file by the schema of its message. Errors: NotARun. */
export function agree(complain: Complaint, message: unknown, place: string): void {
  const complaint = complain("serverMessage", message);
  if (complaint !== undefined) throw new NotARun(`${place}, as the bridge's messages have it: ${complaint}`);
}

/** A valid experiment is one that the sentence would accept. */
function readExperiment(json: unknown): RemoteExperiment {
  const given = object(json, "experiment");
  const link = given.link === null ? null : object(given.link, "experiment.link");
  const taken = {
    work: given.work,
    model: given.model,
    ways: given.ways,
    dtype: given.dtype,
    causal: given.causal === true,
    ...Object.fromEntries(
      (["T", "P", "H", "Hkv", "D", "N", "seed", "rows"] as const).map((
        name,
      ) => [name, number(given[name], `experiment.${name}`)]),
    ),
    link: link === null ? null : {
      bandwidth: number(link.bandwidth, "experiment.link.bandwidth"),
      latency: number(link.latency, "experiment.link.latency"),
    },
  } as RemoteExperiment;
  for (const name of ["work", "model", "ways", "dtype"] as const) text(given[name], `experiment.${name}`, 40);
  const { experiment, problems } = read(draftOf(taken));
  if (experiment === undefined) throw new NotARun(`experiment: ${[...problems.values()].join(" ")}`);
  return experiment;
}

function readLap(json: unknown, place: string, { N, T, H }: RemoteExperiment, complain: Complaint): Lap {
  const lap = object(json, place);
  if (lap.variant !== "pass-kv" && lap.variant !== "pass-q") {
    wrong(`${place}.variant`, lap.variant, '"pass-kv" or "pass-q"');
  }
  const spans = list(lap.spans, `${place}.spans`, MOST_SPANS) as readonly Span[];
  for (let at = 0; at < spans.length; at += SPANS_A_MESSAGE) {
    agree(
      complain,
      { type: "spans", id: 1, spans: spans.slice(at, at + SPANS_A_MESSAGE) },
      `${place}.spans from ${at}`,
    );
  }
  spans.forEach(({ rank, peer = 0 }, i) => {
    if (Math.max(rank, peer) >= N) wrong(`${place}.spans[${i}].rank`, Math.max(rank, peer), `a rank below ${N}`);
  });
  return {
    variant: lap.variant as Variant,
    seconds: number(lap.seconds, `${place}.seconds`),
    value: object(lap.value, `${place}.value`),
    spans,
    ...(lap.verification === undefined
      ? {}
      : { verification: readVerification(lap.verification, `${place}.verification`, T, H) }),
  };
}

function readVerification(json: unknown, place: string, T: number, H: number): Verification {
  const given = object(json, place);
  const rows = list(given.rows, `${place}.rows`, MOST_ROWS).map((value, i): VerifiedRow => {
    const at = `${place}.rows[${i}]`;
    const row = object(value, at);
    const out = {
      token: number(row.token, `${at}.token`),
      head: number(row.head, `${at}.head`),
      keys: number(row.keys, `${at}.keys`),
      allowed: number(row.allowed, `${at}.allowed`),
      out: error(row.out, `${at}.out`),
      lse: error(row.lse, `${at}.lse`),
      pass: row.pass === true,
    };
    if (!(Number.isInteger(out.token) && out.token < T)) wrong(`${at}.token`, out.token, `a token below ${T}`);
    if (!(Number.isInteger(out.head) && out.head < H)) wrong(`${at}.head`, out.head, `a head below ${H}`);
    if (typeof row.pass !== "boolean") wrong(`${at}.pass`, row.pass, "true or false");
    return out;
  });
  const of = number(given.of, `${place}.of`);
  if (of < rows.length) wrong(`${place}.of`, of, `at least the ${rows.length} rows in the list`);
  return {
    rows,
    of,
    ...(given.tolerance === undefined ? {} : { tolerance: text(given.tolerance, `${place}.tolerance`) }),
    ...(given.seconds === undefined ? {} : { seconds: number(given.seconds, `${place}.seconds`) }),
  };
}

/** The file's text, with one line per span and row, so that people can read and compare it. */
export function writeRun(run: RecordedRun): string {
  const { laps, ...head } = run;
  const lines = (
    values: readonly unknown[],
    indent: string,
  ) => (values.length === 0
    ? "[]"
    : `[\n${values.map((value) => `${indent}  ${JSON.stringify(value)}`).join(",\n")}\n${indent}]`);
  const lap = ({ spans, verification, ...rest }: Lap) => {
    const { rows, ...more } = verification ?? { rows: [] };
    const verified = verification === undefined
      ? ""
      : `,\n      "verification": {${JSON.stringify(more).slice(1, -1)}, "rows": ${lines(rows, "      ")}}`;
    return `    {\n      ${JSON.stringify(rest).slice(1, -1)},\n      "spans": ${
      lines(spans, "      ")
    }${verified}\n    }`;
  };
  return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "laps": [\n${laps.map(lap).join(",\n")}\n  ]\n}\n`;
}
