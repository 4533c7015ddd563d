/** The engine's check of a result, or of some of its rows, in the form that the page shows and saves. */
import type { CheckInput, loadEngine } from "../../engine/run.ts";

/**
 * Largest and root-mean-square absolute error, and the largest share of its bound that an element uses. Above 1 the
 * element is wrong.
 */
export interface Errors {
  readonly max: number;
  readonly rms: number;
  readonly share: number;
}

/** One element: its row of Q and, in O, its column. `expected` comes from float64 over the values that were sent. */
export interface Worst {
  readonly tensor: "O" | "LSE";
  readonly row: number;
  readonly head: number;
  readonly column?: number;
  readonly found: number;
  readonly expected: number;
  readonly allowed: number;
}

/** How far O and LSE are from float64 attention of the same inputs. */
export interface Check {
  readonly out: Errors;
  readonly lse: Errors;
  /** The bound of an element in words, from the engine. */
  readonly tolerance: string;
  /** True if every checked element is within its bound. */
  readonly passed: boolean;
  /** The element that uses the largest share of its bound. */
  readonly worst: Worst;
  /** The number of checked rows, and of all rows. */
  readonly rows: number;
  readonly of: number;
}

type CheckAsync = Awaited<ReturnType<typeof loadEngine>>["checkAsync"];

/** Milliseconds between two reports of progress. */
const PACE = 50;

/**
 * Checks these rows of Q. `result` holds every row, O `[T, H, D]` and LSE `[T, H]`. The engine sets the bound of each
 * element.
 */
export async function judge(
  checkAsync: CheckAsync,
  input: CheckInput,
  result: { readonly out: Float32Array; readonly lse: Float32Array },
  rows: readonly number[],
  onProgress: (done: number, total: number) => void,
): Promise<Check> {
  const { heads: H } = input;
  const D = input.valueDim ?? input.headDim;
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
