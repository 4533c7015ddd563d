/**
 * Validates the options and inputs of a cluster's calls before anything starts.
 */
import { InputError } from "../errors.ts";
import { refuseUnknown, sayValue } from "../options.ts";
import { PACKAGE } from "../package.ts";
import { maskFrom } from "../layout/mask.ts";
import { type Dealing, DEALINGS } from "../layout/shards.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import { isPrefixOfK, validateHeads, validateValueHead, valueHead } from "../tensor/heads.ts";
import type { Fault } from "../rank/job.ts";
import { validateLink } from "./link.ts";
import {
  type Cached,
  F32_MAX,
  largestOf,
  NOTHING_CACHED,
  SEEDED_MOST,
  validateHeld,
  validateScores,
  validateSums,
} from "./ranges.ts";
import type { AttendInput, Backend, ClusterOptions, SessionOptions, SessionRows, StepOptions } from "./types.ts";

/** Most bytes of a rank's cached K, and of its V: no back-end here holds more in one buffer. */
const MOST_CACHE = 2 ** 31;

/**
 * Another machine that computes in place of ranks here. It holds q, k and v all in the wire type, takes positive scales
 * only, and knows its own memory. The lists name the options, by call, that it takes besides those of ranks here.
 */
export interface Elsewhere {
  readonly attend: readonly string[];
  readonly session: readonly string[];
  readonly step: readonly string[];
}

const CLUSTER = keysOf<ClusterOptions>({
  ranks: 1,
  backend: 1,
  link: 1,
  timeout: 1,
  shaders: 1,
  tune: 1,
  fault: 1,
  signal: 1,
});
const ATTEND = keysOf<AttendInput>({
  q: 1,
  k: 1,
  v: 1,
  sequences: 1,
  heads: 1,
  kvHeads: 1,
  headDim: 1,
  variant: 1,
  rates: 1,
  valueDim: 1,
  mask: 1,
  causal: 1,
  sinks: 1,
  dealing: 1,
  scale: 1,
  wireDtype: 1,
  signal: 1,
  onProgress: 1,
  onHalt: 1,
  watch: 1,
});
const SESSION = keysOf<SessionOptions>({
  heads: 1,
  kvHeads: 1,
  headDim: 1,
  valueDim: 1,
  v: 1,
  mask: 1,
  sinks: 1,
  dealing: 1,
  scale: 1,
  wireDtype: 1,
  capacity: 1,
  variant: 1,
  rates: 1,
});
const ROWS = keysOf<SessionRows>({ sequence: 1, q: 1, k: 1, v: 1 });
const STEP = keysOf<StepOptions>({ variant: 1, fault: 1, signal: 1, onProgress: 1 });
/** Most seconds of a timeout. */
const MOST_TIMEOUT = 86_400;
const FAULT_KINDS = ["exit", "drop", "lose-device"];

/** Throws InputError unless a cluster can start with these options. */
export function validateCluster(options: ClusterOptions): void {
  if (options !== null && typeof options === "object" && "remote" in options) {
    throw new InputError(
      `cluster: found the option "remote", expected ranks here: import { Remote } from "${PACKAGE}/remote" and call ` +
        "Remote.connect(url, { token, ranks }), which gives the same face",
    );
  }
  refuseUnknown("cluster", options, CLUSTER);
  const { ranks, backend, link, timeout, fault, shaders, tune, signal } = options;
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > 64) {
    throw new InputError(`ranks: found ${sayValue(ranks)}, expected a whole number from 1 to 64`);
  }
  if (backend !== undefined && backend !== "webgpu" && backend !== "cpu") {
    throw new InputError(`backend: found ${sayValue(backend)}, expected "webgpu" or "cpu"`);
  }
  if (link !== undefined) validateLink(link);
  if (timeout !== undefined && !(typeof timeout === "number" && timeout > 0 && timeout <= MOST_TIMEOUT)) {
    throw new InputError(`timeout: found ${sayValue(timeout)}, expected seconds above 0, at most ${MOST_TIMEOUT}`);
  }
  if (fault !== undefined) validateFault(fault, ranks, backend);
  if (shaders !== undefined && (typeof shaders !== "object" || shaders === null)) {
    throw new InputError(`shaders: found ${sayValue(shaders)}, expected an object of WGSL texts by kernel name`);
  }
  for (const [kernel, given] of Object.entries(shaders ?? {})) {
    const { text, name } = typeof given === "string"
      ? { text: given, name: "" }
      : (given ?? {}) as { text?: unknown; name?: unknown };
    if (typeof text !== "string" || typeof name !== "string") {
      throw new InputError(
        `shaders: found ${sayValue(given)} for ${JSON.stringify(kernel)}, expected its WGSL text, or { name, text }`,
      );
    }
  }
  if (backend === "cpu" && Object.keys(shaders ?? {}).length > 0) {
    throw new InputError(
      `shaders: found ${
        Object.keys(shaders!).join(", ")
      } beside backend "cpu", which runs no WGSL; expected backend "webgpu", or no shaders`,
    );
  }
  if (tune !== undefined && typeof tune !== "boolean") {
    throw new InputError(`tune: found ${sayValue(tune)}, expected true or false`);
  }
  validateWatching({ signal });
}

/** Throws InputError unless a planned fault can be one of `ranks` ranks on this back-end. */
export function validateFault(fault: Fault, ranks: number, backend: Backend = "webgpu"): void {
  refuseUnknown("fault", fault, ["rank", "hop", "kind", "step"]);
  const { rank, hop, kind, step } = fault;
  const within = (n: number) => Number.isInteger(n) && n >= 0 && n < ranks;
  if (!within(rank) || !within(hop)) {
    throw new InputError(
      `fault: found rank ${sayValue(rank)}, hop ${sayValue(hop)}, expected both from 0 to ${ranks - 1}`,
    );
  }
  if (!FAULT_KINDS.includes(kind)) {
    throw new InputError(`fault: found kind ${sayValue(kind)}, expected ${FAULT_KINDS.join(", ")}`);
  }
  if (step !== undefined && !(Number.isInteger(step) && step >= 0)) {
    throw new InputError(`fault: found step ${sayValue(step)}, expected a whole number of at least 0`);
  }
  if (kind === "lose-device" && backend === "cpu") {
    throw new InputError(
      'fault: found kind "lose-device" with backend "cpu", which has no device; expected "exit" or "drop"',
    );
  }
}

/** Throws InputError unless a call's signal, callbacks and watched rows have the right types. */
function validateWatching(
  given: {
    readonly signal?: unknown;
    readonly onProgress?: unknown;
    readonly onHalt?: unknown;
    readonly watch?: unknown;
  },
): void {
  if (given.signal !== undefined && !(given.signal instanceof AbortSignal)) {
    throw new InputError(`signal: found ${sayValue(given.signal)}, expected an AbortSignal`);
  }
  for (const name of ["onProgress", "onHalt"] as const) {
    if (given[name] !== undefined && typeof given[name] !== "function") {
      throw new InputError(`${name}: found ${sayValue(given[name])}, expected a function`);
    }
  }
  if (given.watch !== undefined && !Array.isArray(given.watch)) {
    throw new InputError(`watch: found ${sayValue(given.watch)}, expected an array of rows of Q`);
  }
}

function validateRates(rates: unknown): void {
  if (rates === undefined) return;
  refuseUnknown("rates", rates, ["flops", "bandwidth"]);
  for (const name of ["flops", "bandwidth"] as const) {
    const value = (rates as Record<string, unknown>)[name];
    if (!(typeof value === "number" && value > 0 && Number.isFinite(value))) {
      throw new InputError(`rates: found ${name} ${sayValue(value)}, expected a number above 0`);
    }
  }
}

/** Throws InputError unless options, shapes, sequences and values fit each other and f32 arithmetic. */
export function validateAttend(input: AttendInput, elsewhere?: Elsewhere): void {
  refuseUnknown("attend", input, [...ATTEND, ...(elsewhere?.attend ?? [])]);
  const { heads, kvHeads, headDim, sequences, wireDtype = "f32", variant = "pass-kv" } = input;
  validateHeads(heads, kvHeads, headDim);
  if (!Array.isArray(sequences)) {
    throw new InputError(
      `sequences: found ${sayValue(sequences)}, expected an array such as [{ new: 128, cached: 0 }]`,
    );
  }
  if (sequences.length === 0) throw new InputError("sequences: found none, expected at least one");
  sequences.forEach((s: unknown, i) => {
    refuseUnknown(`sequence ${i}`, s, ["new", "cached"]);
    for (const name of ["new", "cached"] as const) {
      const value = (s as Record<string, unknown>)[name];
      if (!Number.isSafeInteger(value) || (value as number) < 0) {
        throw new InputError(
          `sequence ${i}: found ${sayValue(value)} ${name} tokens, expected a whole number of at least 0`,
        );
      }
    }
  });
  const fresh = sequences.reduce((sum, s) => sum + s.new, 0);
  const all = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  if (fresh === 0) throw new InputError("sequences: found no new token, expected at least one");
  expectRows("q", input.q, fresh, heads, headDim, "sum of T");
  expectRows("k", input.k, all, kvHeads, headDim, "sum of T + P");
  validateValueHead(input);
  const { valueDim } = valueHead(input);
  if (!isPrefixOfK(input.v)) expectRows("v", input.v, all, kvHeads, valueDim, "sum of T + P");
  validateVariant(variant);
  validateWire(wireDtype);
  validateScale(input.scale, elsewhere);
  maskFrom(input);
  validateDealing(input.dealing);
  validateSinks(input.sinks, heads);
  validateWatching(input);
  validateRates(input.rates);
  if (input.watch !== undefined && input.onHalt === undefined) {
    throw new InputError("watch: found rows to watch but no onHalt to hand them to, expected both or neither");
  }
  for (const row of input.watch ?? []) {
    if (!Number.isInteger(row) || row < 0 || row >= fresh) {
      throw new InputError(`watch: found row ${row}, expected rows of Q, whole numbers from 0 to ${fresh - 1}`);
    }
  }
  const [q, k] = [largestOf("q", input.q), largestOf("k", input.k)];
  const largest = { q, k, v: isPrefixOfK(input.v) ? k : largestOf("v", input.v) };
  const held = elsewhere !== undefined || variant === "auto"
    ? ["q", "k", "v"] as const
    : variant === "pass-q"
    ? ["q"] as const
    : ["k", "v"] as const;
  for (const name of held) validateHeld(name, largest[name], wireDtype);
  validateScores("", largest.q, largest.k, headDim, input.scale);
  validateSums("", largest.v, all);
}

function validateDealing(dealing: unknown): void {
  if (dealing !== undefined && !DEALINGS.includes(dealing as Dealing)) {
    throw new InputError(`dealing: found ${sayValue(dealing)}, expected ${DEALINGS.join(" or ")}`);
  }
}

function validateSinks(sinks: unknown, heads: number): void {
  if (sinks === undefined) return;
  expectArray("sinks", sinks);
  if (sinks.length !== heads) {
    throw new InputError(`sinks: found ${sinks.length} elements, expected one for each of the ${heads} heads`);
  }
  if (largestOf("sinks", sinks) > F32_MAX) {
    throw new InputError(`sinks: found magnitudes above ${F32_MAX}, which may overflow f32; expected smaller ones`);
  }
}

/** Throws InputError unless these inputs can be made from a seed and attended to: seeded values are below 4. */
export function validateSeeded(
  input:
    & Pick<
      AttendInput,
      "heads" | "kvHeads" | "headDim" | "scale" | "valueDim" | "mask" | "causal" | "sinks" | "dealing"
    >
    & Pick<SessionOptions, "v">,
  elsewhere?: Elsewhere,
): void {
  const { heads, kvHeads, headDim, scale } = input;
  validateHeads(heads, kvHeads, headDim);
  validateValueHead(input);
  maskFrom(input);
  validateDealing(input.dealing);
  validateSinks(input.sinks, heads);
  validateScale(scale, elsewhere);
  validateScores("", SEEDED_MOST, SEEDED_MOST, headDim, scale);
}

/** Throws InputError unless a session can open with these options. */
export function validateSession(options: SessionOptions, elsewhere?: Elsewhere): void {
  refuseUnknown("session", options, [...SESSION, ...(elsewhere?.session ?? [])]);
  const { heads, kvHeads, headDim, wireDtype = "f32", capacity } = options;
  validateHeads(heads, kvHeads, headDim);
  if (options.v !== undefined && !isPrefixOfK(options.v)) {
    throw new InputError(`v: found ${sayValue(options.v)}, expected { prefixOfK }, or no v in a session's options`);
  }
  validateValueHead(options);
  if (maskFrom(options).kind === "full") {
    throw new InputError(
      'mask: found "full", expected causal, window or chunk: a session does not have its later tokens yet',
    );
  }
  validateDealing(options.dealing);
  validateSinks(options.sinks, heads);
  validateWire(wireDtype);
  if (options.variant !== undefined) validateVariant(options.variant);
  validateScale(options.scale, elsewhere);
  validateRates(options.rates);
  if (capacity === undefined) return;
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new InputError(`capacity: found ${sayValue(capacity)} tokens, expected a whole number of at least 1`);
  }
  const rowBytes = kvHeads * Math.max(headDim, valueHead(options).valueDim) * bytesPer(wireDtype);
  const most = Math.floor(MOST_CACHE / rowBytes);
  if (elsewhere === undefined && capacity > most) {
    throw new InputError(
      `capacity: found ${capacity} tokens a rank, expected at most ${most}: a rank's K and its V take ${rowBytes} bytes ` +
        `a token each and at most ${MOST_CACHE} in all`,
    );
  }
}

/** Throws InputError unless a step's options are known and valid; `ranks` is N. */
export function validateStep(options: StepOptions, ranks = Infinity, backend?: Backend, elsewhere?: Elsewhere): void {
  refuseUnknown("step", options, [...STEP, ...(elsewhere?.step ?? [])]);
  validateWatching(options);
  if (options.fault !== undefined) validateFault(options.fault, ranks, backend);
  if (options.variant !== undefined) validateVariant(options.variant);
}

/**
 * Validates new rows of one sequence against the session's options and the sequence's cache: queries meet its earlier
 * keys too. Returns T, the largest magnitudes of the rows, and the extremes of the cache after them.
 */
export function validateRows(
  rows: SessionRows,
  options: Pick<SessionOptions, "heads" | "kvHeads" | "headDim" | "scale" | "valueDim" | "v"> & {
    readonly wireDtype: DType;
  },
  cached: Cached = NOTHING_CACHED,
): { readonly T: number; readonly largest: Readonly<Record<"q" | "k" | "v", number>>; readonly cached: Cached } {
  refuseUnknown("rows", rows, ROWS);
  const { heads, kvHeads, headDim, wireDtype, scale } = options;
  if (!Number.isSafeInteger(rows.sequence) || rows.sequence < 0) {
    throw new InputError(`sequence: found ${sayValue(rows.sequence)}, expected a whole number of at least 0`);
  }
  const name = `sequence ${rows.sequence}, `;
  expectArray(`${name}q`, rows.q);
  const T = rows.q.length / (heads * headDim);
  if (!Number.isInteger(T) || T < 1) {
    throw new InputError(
      `${name}q: found ${rows.q.length} elements, expected whole rows of ${heads} heads x ${headDim}, at least one`,
    );
  }
  expectRows(`${name}k`, rows.k, T, kvHeads, headDim, "T");
  const { valueDim, valuesInKeys } = valueHead(options);
  if (valuesInKeys && rows.v !== undefined) {
    throw new InputError(
      `${name}v: found ${
        sayValue(rows.v)
      }, expected none: this session's values are the first ${valueDim} elements of K`,
    );
  }
  if (!valuesInKeys) expectRows(`${name}v`, rows.v!, T, kvHeads, valueDim, "T");
  const [q, k] = [largestOf(`${name}q`, rows.q), largestOf(`${name}k`, rows.k)];
  const largest = { q, k, v: valuesInKeys ? k : largestOf(`${name}v`, rows.v!) };
  for (const which of ["q", "k", "v"] as const) validateHeld(`${name}${which}`, largest[which], wireDtype);
  const after: Cached = {
    tokens: cached.tokens + T,
    k: Math.max(cached.k, largest.k),
    v: Math.max(cached.v, largest.v),
  };
  validateScores(name, largest.q, after.k, headDim, scale);
  validateSums(name, after.v, after.tokens);
  return { T, largest, cached: after };
}

/** Throws InputError unless `scale` is undefined or a number that f32 holds; elsewhere, a positive one. */
export function validateScale(scale: number | undefined, elsewhere?: Elsewhere, name = "scale"): void {
  if (scale === undefined) return;
  if (typeof scale !== "number" || !Number.isFinite(scale)) {
    throw new InputError(`${name}: found ${sayValue(scale)}, expected a finite number`);
  }
  if (Math.abs(scale) > F32_MAX) {
    throw new InputError(`${name}: found ${scale}, which may overflow f32; expected a magnitude of at most ${F32_MAX}`);
  }
  if (elsewhere !== undefined && scale <= 0) {
    throw new InputError(
      `${name}: found ${scale}, expected a number above 0: the machine that computes takes no other`,
    );
  }
}

function validateWire(wire: unknown): void {
  if (!["f32", "f16", "bf16"].includes(wire as string)) {
    throw new InputError(`wire dtype: found ${sayValue(wire)}, expected f32, f16 or bf16`);
  }
}

function validateVariant(variant: unknown): void {
  if (!["pass-kv", "pass-q", "auto"].includes(variant as string)) {
    throw new InputError(`variant: found ${sayValue(variant)}, expected "pass-kv", "pass-q" or "auto"`);
  }
}

function expectArray(name: string, data: unknown): asserts data is Float32Array {
  if (!(data instanceof Float32Array)) {
    throw new InputError(`${name}: found ${sayValue(data)}, expected a Float32Array`);
  }
}

function expectRows(
  name: string,
  data: Float32Array,
  rows: number,
  heads: number,
  headDim: number,
  what: string,
): void {
  expectArray(name, data);
  if (data.length !== rows * heads * headDim) {
    throw new InputError(
      `${name}: found ${data.length} elements, expected ${rows} rows (${what}) x ${heads} heads x ${headDim} = ${
        rows * heads * headDim
      }`,
    );
  }
}

/** The fields of a type: the compiler complains if one is missing or extra. */
function keysOf<T>(fields: Readonly<Record<keyof T, 1>>): string[] {
  return Object.keys(fields);
}
