/** Verification: computes rows of a seeded result again here, and compares. */
import { InputError } from "../../errors.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sayValue } from "../../options.ts";
import { validateHeads, validateValueHead, valueHead } from "../../tensor/heads.ts";
import { seenBy } from "../attention.ts";
import { rowTolerance, sayRowTolerance } from "../tolerance.ts";
import { onThreads } from "./on-threads.ts";
import type { VerifyPlatform } from "./platform.ts";
import { recompute } from "./recompute.ts";
import type {
  ExactRow,
  IndexedRows,
  Recomputation,
  Row,
  RowCheck,
  SeededBatch,
  Sink,
  Verification,
  VerifyInput,
} from "./types.ts";

/** Row-key-element products below which starting threads doesn't pay. */
const SMALL = 3e7;
/** Milliseconds of work on the caller's own thread between two pauses. */
const SLICE = 30;

/** Verifies rows. Errors: InputError; the signal's reason. */
export async function verifyRows(platform: VerifyPlatform, input: VerifyInput): Promise<Verification> {
  const start = performance.now();
  const { rows, out, lse, headDim, dtype = "f32", with: how = "float64", signal, onProgress, onRow } = input;
  validate(input);
  const { valueDim } = valueHead(input);
  signal?.throwIfAborted();
  const total = rows.reduce((sum, [token]) => sum + seenBy(input, token).keys, 0);
  const checks: RowCheck[] = new Array(rows.length);
  let gone = 0;
  const sink: Sink = {
    pairs: (n) => onProgress?.(gone += n, total),
    row: (exact) => {
      const { index } = exact;
      const check = checkRow(
        exact,
        rows[index],
        out.subarray(index * valueDim, (index + 1) * valueDim),
        lse[index],
        dtype,
        how,
      );
      checks[index] = check;
      onRow?.(check);
    },
  };
  onProgress?.(0, total);
  const all = rows.map((row, i) => [i, row] as const);
  if (how === "webgpu") await (await import("./on-gpu.ts")).onGpu(platform, input, all, sink);
  else if (total * headDim < SMALL || input.threads === 0) await here(input, all, sink, signal);
  else await onThreads(platform, input, all, sink, signal);
  signal?.throwIfAborted();
  const worst = checks.reduce<RowCheck | undefined>(
    (most, check) => (most === undefined || excess(check) > excess(most) ? check : most),
    undefined,
  );
  return {
    rows: checks,
    maxOut: Math.max(0, ...checks.map((c) => c.out.error)),
    maxLse: Math.max(0, ...checks.map((c) => c.lse.error)),
    worst,
    tolerance: sayRowTolerance(dtype, how === "webgpu"),
    with: how,
    seconds: (performance.now() - start) / 1000,
    passed: checks.every((c) => c.passed),
  };
}

/** Computes rows on the caller's thread, in slices. */
async function here(
  batch: SeededBatch,
  rows: IndexedRows,
  sink: Sink,
  signal: AbortSignal | undefined,
): Promise<void> {
  let since = performance.now();
  for (const tile of recompute(batch, rows)) {
    sink.pairs(tile.pairs);
    tile.rows.forEach(sink.row);
    if (performance.now() - since < SLICE) continue;
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
    since = performance.now();
  }
}

/** Compares a row with its recomputation. */
function checkRow(
  exact: ExactRow,
  row: Row,
  found: Float32Array,
  lse: number,
  dtype: DType,
  how: Recomputation,
): RowCheck {
  const { index, keys, spread } = exact;
  const largest = exact.out.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const allowed = rowTolerance(dtype, how === "webgpu", { lse: exact.lse, largest, spread });
  let out = { error: 0, column: 0, found: found[0], expected: exact.out[0], allowed: allowed.out(exact.out[0]) };
  for (let column = 0; column < found.length; column++) {
    const [a, b] = [found[column], exact.out[column]];
    const [error, bar] = [apart(a, b), allowed.out(b)];
    if (error / bar > out.error / out.allowed) out = { error, column, found: a, expected: b, allowed: bar };
  }
  const off = apart(lse, exact.lse);
  return {
    index,
    row,
    keys,
    out,
    lse: { error: off, found: lse, expected: exact.lse, allowed: allowed.lse },
    passed: out.error <= out.allowed && off <= allowed.lse,
  };
}

/** Absolute difference; Infinity for a NaN. */
function apart(found: number, expected: number): number {
  const off = Math.abs(found - expected);
  return Number.isNaN(off) ? Infinity : off;
}

function excess({ out, lse }: RowCheck): number {
  return Math.max(out.error / out.allowed, lse.error / lse.allowed);
}

function validate(input: VerifyInput): void {
  const { sequences, heads, kvHeads, headDim, sinks, rows, out, lse, seed, threads, with: how } = input;
  validateHeads(heads, kvHeads, headDim);
  validateValueHead(input);
  const { valueDim } = valueHead(input);
  if (
    sinks !== undefined && !(sinks instanceof Float32Array && sinks.length === heads && sinks.every(Number.isFinite))
  ) {
    throw new InputError(
      `sinks: found ${sayValue(sinks)}, expected a Float32Array of ${heads} finite logits, one a head`,
    );
  }
  const tokens = sequences.reduce((sum, s) => sum + s.new, 0);
  const rowCount = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw new InputError(`seed: found ${seed}, expected a whole number of 0 to 2^32 - 1`);
  }
  if (!(rowCount < 2 ** 32)) throw new InputError(`sequences: found ${rowCount} tokens, expected fewer than 2^32`);
  if (how !== undefined && how !== "float64" && how !== "webgpu") {
    throw new InputError(`with: found ${JSON.stringify(how)}, expected "float64" or "webgpu"`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 0 && threads <= 64)) {
    throw new InputError(`threads: found ${threads}, expected a whole number from 0 to 64`);
  }
  for (const [token, head] of rows) {
    if (
      !(Number.isInteger(token) && token >= 0 && token < tokens && Number.isInteger(head) && head >= 0 && head < heads)
    ) {
      throw new InputError(
        `rows: found token ${token}, head ${head}, expected tokens from 0 to ${tokens - 1} and heads from 0 to ${
          heads - 1
        }`,
      );
    }
  }
  if (out.length !== rows.length * valueDim || lse.length !== rows.length) {
    throw new InputError(
      `rows: found ${out.length} elements of O and ${lse.length} of LSE, expected ${
        rows.length * valueDim
      } and ${rows.length} for ${rows.length} rows`,
    );
  }
}
