/** Checks an experiment before anything is started: every message says what was found and what was expected. */
import { InputError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";
import type { AttendInput, SessionRows } from "./types.ts";

/** Largest finite f32 with room for the sums that attention makes. */
const F32_MAX = 1e38;
/** Largest finite f16. */
const F16_MAX = 65504;

/** Throws InputError unless the head counts and head size can be computed. */
export function validateHeads(heads: number, kvHeads: number, headDim: number): void {
  for (const [name, value] of [["heads (H)", heads], ["KV heads (Hkv)", kvHeads]] as const) {
    if (!Number.isInteger(value) || value < 1) throw new InputError(`${name}: found ${value}, expected a whole number of at least 1`);
  }
  if (heads % kvHeads !== 0) throw new InputError(`heads: found H = ${heads} query heads and Hkv = ${kvHeads} KV heads, expected H a multiple of Hkv`);
  if (!Number.isInteger(headDim) || headDim % 4 !== 0 || headDim < 16 || headDim > 256) {
    throw new InputError(`head dimension: found D = ${headDim}, expected a multiple of 4 from 16 to 256`);
  }
}

/** Throws InputError unless shapes, sequences and values fit each other and the arithmetic. */
export function validateAttend(input: AttendInput): void {
  const { heads, kvHeads, headDim, sequences } = input;
  validateHeads(heads, kvHeads, headDim);
  if (sequences.length === 0) throw new InputError("sequences: found none, expected at least one");
  sequences.forEach((s, i) => {
    for (const [name, value] of [["new", s.new], ["cached", s.cached]] as const) {
      if (!Number.isSafeInteger(value) || value < 0) throw new InputError(`sequence ${i}: found ${value} ${name} tokens, expected a whole number of at least 0`);
    }
  });
  const fresh = sequences.reduce((sum, s) => sum + s.new, 0);
  const all = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  if (fresh === 0) throw new InputError("sequences: found no new token, expected at least one");
  expectLength("q", input.q, fresh, heads, headDim, "sum of T");
  expectLength("k", input.k, all, kvHeads, headDim, "sum of T + P");
  expectLength("v", input.v, all, kvHeads, headDim, "sum of T + P");
  if (input.scale !== undefined && !Number.isFinite(input.scale)) throw new InputError(`scale: found ${input.scale}, expected a finite number`);
  if (input.variant !== undefined && input.variant !== "pass-kv" && input.variant !== "pass-q" && input.variant !== "auto") {
    throw new InputError(`variant: found ${JSON.stringify(input.variant)}, expected "pass-kv", "pass-q" or "auto"`);
  }
  if (input.watch !== undefined && input.onHalt === undefined) throw new InputError("watch: found rows to watch but no onHalt to hand them to, expected both or neither");
  for (const row of input.watch ?? []) {
    if (!Number.isInteger(row) || row < 0 || row >= fresh) throw new InputError(`watch: found row ${row}, expected rows of Q, whole numbers from 0 to ${fresh - 1}`);
  }
  const q = largest("q", input.q);
  const k = largest("k", input.k);
  const v = largest("v", input.v);
  const travelling = { "pass-q": [["q", q]], "pass-kv": [["k", k], ["v", v]], auto: [["q", q], ["k", k], ["v", v]] } as const;
  validateRange(input.wireDtype ?? "f32", travelling[input.variant ?? "pass-kv"]);
  if (q * k * headDim * Math.max(1, Math.abs(input.scale ?? 1)) > F32_MAX) {
    throw new InputError(`q and k: found values up to ${q} and ${k}, whose scores may overflow f32; expected |q| |k| D below ${F32_MAX}: scale them down`);
  }
  if (v * all > F32_MAX) throw new InputError(`v: found values up to ${v}, whose sums may overflow f32; expected |v| (T + P) below ${F32_MAX}: scale them down`);
}

/** Checks new rows of one sequence and returns how many there are. */
export function validateRows(rows: SessionRows, options: { readonly heads: number; readonly kvHeads: number; readonly headDim: number; readonly wireDtype: DType }): number {
  const { heads, kvHeads, headDim, wireDtype } = options;
  const T = rows.q.length / (heads * headDim);
  const name = `sequence ${rows.sequence}, `;
  if (!Number.isInteger(T) || T < 1) throw new InputError(`${name}q: found ${rows.q.length} elements, expected whole rows of ${heads} heads x ${headDim}, at least one`);
  expectLength(`${name}k`, rows.k, T, kvHeads, headDim, "T");
  expectLength(`${name}v`, rows.v, T, kvHeads, headDim, "T");
  const [q, k, v] = (["q", "k", "v"] as const).map((which) => [which, largest(`${name}${which}`, rows[which])] as const);
  validateRange(wireDtype, [q, k, v]);
  if (q[1] * k[1] * headDim > F32_MAX) throw new InputError(`${name}q and k: found values up to ${q[1]} and ${k[1]}, whose scores may overflow f32; scale them down`);
  return T;
}

function validateRange(wire: DType, travelling: readonly (readonly [string, number])[]): void {
  if (!["f32", "f16", "bf16"].includes(wire)) throw new InputError(`wire dtype: found ${JSON.stringify(wire)}, expected f32, f16 or bf16`);
  for (const [name, max] of travelling) {
    if (wire === "f16" && max > F16_MAX) throw new InputError(`${name}: found a value of magnitude ${max}, which f16 on the wire cannot hold (at most ${F16_MAX}); use bf16 or f32`);
  }
}

function expectLength(name: string, data: Float32Array, rows: number, heads: number, headDim: number, what: string): void {
  if (data.length !== rows * heads * headDim) {
    throw new InputError(`${name}: found ${data.length} elements, expected ${rows} rows (${what}) x ${heads} heads x ${headDim} = ${rows * heads * headDim}`);
  }
}

function largest(name: string, data: Float32Array): number {
  let max = 0;
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]);
    if (!(size <= max)) {
      if (!Number.isFinite(size)) throw new InputError(`${name}: found ${data[i]} at element ${i}, expected finite numbers`);
      max = size;
    }
  }
  return max;
}
