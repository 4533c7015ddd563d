/** Verification: rows that a worker computed are computed again here, and compared. */
import { InputError } from "../../engine/errors.ts";
import { validateHeads } from "../../engine/cluster/validate.ts";
import type { DType } from "../../engine/tensor/dtype.ts";
import type { ClientPlatform } from "./platform.ts";
import { type ExactRow, keysOf, recompute } from "./recompute.ts";
import { allowedIn, sayTolerance } from "./tolerance.ts";
import type { Row, RowCheck, SeededBatch, Verification, VerifyInput } from "./types.ts";
import type { Answer, Request } from "./verify-thread.ts";

/** Row-key-element products below which a thread is not worth its start. */
const SMALL = 3e7;
/** Most threads by default. */
const MOST_THREADS = 4;
/** Milliseconds of work on the caller's own thread between two pauses. */
const SLICE = 30;

type Indexed = readonly [index: number, row: Row];

/** Verifies rows. Errors: InputError; the signal's reason. */
export async function verifyRows(platform: ClientPlatform, input: VerifyInput): Promise<Verification> {
  const start = performance.now();
  const { rows, out, lse, headDim: D, dtype = "f32", with: how = "float64", signal, onProgress, onRow } = input;
  validate(input);
  signal?.throwIfAborted();
  const total = rows.reduce((sum, [token]) => sum + keysOf(input, token).keys, 0);
  const checks: RowCheck[] = new Array(rows.length);
  let gone = 0;
  const sink: Sink = {
    pairs: (n) => onProgress?.(gone += n, total),
    row: (exact) => {
      const { index } = exact;
      const check = compare(exact, rows[index], out.subarray(index * D, (index + 1) * D), lse[index], dtype, how);
      checks[index] = check;
      onRow?.(check);
    },
  };
  onProgress?.(0, total);
  const all = rows.map((row, i): Indexed => [i, row]);
  if (how === "webgpu") await (await import("./verify-gpu.ts")).onGpu(platform, input, all, sink);
  else if (total * D < SMALL || input.threads === 0) await here(input, all, sink, signal);
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
    tolerance: sayTolerance(dtype, how),
    with: how,
    seconds: (performance.now() - start) / 1000,
    passed: checks.every((c) => c.passed),
  };
}

/** Where results of a recomputation go. */
export interface Sink {
  /** Row-key pairs gone through since the last call. */
  pairs(n: number): void;
  row(exact: ExactRow): void;
}

/** On the caller's thread, in slices. */
async function here(
  batch: SeededBatch,
  rows: readonly Indexed[],
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

/**
 * On threads of their own, rows of one KV head together as they share its keys; each thread ends with its work, or with
 * the signal.
 */
async function onThreads(
  platform: ClientPlatform,
  { seed, sequences, heads, kvHeads, headDim, causal, scale, threads, rows: { length } }: VerifyInput,
  rows: readonly Indexed[],
  sink: Sink,
  signal: AbortSignal | undefined,
): Promise<void> {
  const batch = { seed, sequences, heads, kvHeads, headDim, causal, scale };
  const count = Math.max(1, Math.min(threads ?? Math.min(MOST_THREADS, platform.processors), length));
  const ends: (() => void)[] = [];
  try {
    await Promise.all(
      shares(batch, rows, count).map((share) =>
        new Promise<void>((resolve, reject) => {
          const thread = platform.startHelper();
          const abort = () => reject(signal!.reason);
          signal?.addEventListener("abort", abort, { once: true });
          ends.push(() => {
            signal?.removeEventListener("abort", abort);
            thread.terminate();
          });
          thread.onDeath((how) => reject(new Error(`verification: a thread broke: ${how}`)));
          thread.onMessage((message) => {
            const answer = message as Answer;
            if (answer.kind === "failed") return reject(new Error(`verification: ${answer.message}`));
            if (answer.kind === "done") return resolve();
            sink.pairs(answer.pairs);
            answer.rows.forEach(sink.row);
          });
          thread.post({ batch, rows: share } satisfies Request);
        })
      ),
    );
  } finally {
    for (const end of ends) end();
  }
}

/** Rows by thread: sorted by KV head and cut where each part has its share of the keys. */
function shares(batch: SeededBatch, rows: readonly Indexed[], count: number): Indexed[][] {
  const group = batch.heads / batch.kvHeads;
  const costs = new Map(rows.map(([index, [token]]) => [index, keysOf(batch, token).keys]));
  const all = [...costs.values()].reduce((sum, n) => sum + n, 0);
  const sorted = rows.toSorted(([, a], [, b]) => Math.floor(a[1] / group) - Math.floor(b[1] / group) || a[0] - b[0]);
  const parts: Indexed[][] = Array.from({ length: count }, () => []);
  let before = 0;
  for (const row of sorted) {
    const cost = costs.get(row[0])!;
    parts[Math.min(count - 1, Math.floor(((before + cost / 2) / all) * count))].push(row);
    before += cost;
  }
  return parts.filter((part) => part.length > 0);
}

/** A row beside its recomputation. */
function compare(
  exact: ExactRow,
  row: Row,
  found: Float32Array,
  lse: number,
  dtype: DType,
  how: Verification["with"],
): RowCheck {
  const { index, keys, spread } = exact;
  const largest = exact.out.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const allowed = allowedIn(dtype, how, exact.lse, largest, spread);
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

/** Absolute difference; a NaN is as wrong as can be. */
function apart(found: number, expected: number): number {
  const off = Math.abs(found - expected);
  return Number.isNaN(off) ? Infinity : off;
}

function excess({ out, lse }: RowCheck): number {
  return Math.max(out.error / out.allowed, lse.error / lse.allowed);
}

function validate({ sequences, heads, kvHeads, headDim, rows, out, lse, seed, threads, with: how }: VerifyInput): void {
  validateHeads(heads, kvHeads, headDim);
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
  if (out.length !== rows.length * headDim || lse.length !== rows.length) {
    throw new InputError(
      `rows: found ${out.length} elements of O and ${lse.length} of LSE, expected ${
        rows.length * headDim
      } and ${rows.length} for ${rows.length} rows`,
    );
  }
}
