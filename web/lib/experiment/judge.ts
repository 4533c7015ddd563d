/**
 * The engine's check of some rows of a result, as a worker of the page makes it: what the page shows, saves and says of
 * it.
 */
import type { CheckInput, loadEngine } from "../../engine/run.ts";

/**
 * Largest and root-mean-square absolute error,
 * and the largest share that an element uses of what rounding allows it: above 1, it is wrong.
 */
export interface Errors {
  readonly max: number;
  readonly rms: number;
  readonly share: number;
}

/** One element: of row `row` of Q, and of O its column. `expected` is float64's, of the values that were sent. */
export interface Worst {
  readonly tensor: "O" | "LSE";
  readonly row: number;
  readonly head: number;
  readonly column?: number;
  readonly found: number;
  readonly expected: number;
  readonly allowed: number;
}

/** How far O and LSE lie from float64 attention of the same inputs. */
export interface Check {
  readonly out: Errors;
  readonly lse: Errors;
  /** The bound of an element, in words. */
  readonly tolerance: string;
  /** True if every element checked is within its bound. */
  readonly passed: boolean;
  /** The element that uses the largest share of its bound. */
  readonly worst: Worst;
  /** Rows of O and LSE that were checked, of how many. */
  readonly rows: number;
  readonly of: number;
}

type CheckAsync = Awaited<ReturnType<typeof loadEngine>>["checkAsync"];

/** Milliseconds between two reports of progress. */
const PACE = 50;

/**
 * Checks these rows of Q; `result` holds every row, O `[T, H, D]` and LSE `[T, H]`. The bound is the engine's own, for
 * each element.
 */
export async function judge(
  checkAsync: CheckAsync,
  input: CheckInput,
  result: { readonly out: Float32Array; readonly lse: Float32Array },
  rows: readonly number[],
  onProgress: (done: number, total: number) => void,
): Promise<Check> {
  const { heads: H, headDim: D } = input;
  let told = -Infinity;
  const given = { out: gather(result.out, rows, H * D), lse: gather(result.lse, rows, H) };
  const { out, lse, tolerance, passed } = await checkAsync(input, given, {
    rows,
    onProgress: (done, total) => {
      if (performance.now() - told < PACE) return;
      told = performance.now();
      onProgress(done, total);
    },
  });
  const side = ({ max, rms, worst }: typeof out) => ({ max, rms, share: worst.share });
  const inOut = out.worst.share >= lse.worst.share;
  const { at, found, expected, allowed } = (inOut ? out : lse).worst;
  const head = inOut ? Math.floor(at / D) : at;
  const worst: Worst = {
    tensor: inOut ? "O" : "LSE",
    row: rows[Math.floor(head / H)],
    head: head % H,
    ...(inOut ? { column: at % D } : {}),
    found,
    expected,
    allowed,
  };
  const of = input.sequences.reduce((sum, s) => sum + s.new, 0);
  return { out: side(out), lse: side(lse), tolerance, passed, worst, rows: rows.length, of };
}

/** The named rows of a row-major tensor, one after the other. */
function gather(from: Float32Array, rows: readonly number[], columns: number): Float32Array {
  const to = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => to.set(from.subarray(row * columns, (row + 1) * columns), i * columns));
  return to;
}
