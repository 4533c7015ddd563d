/** What verification takes and gives: a seeded batch, sampled rows of its result, and the verdict on them. */
import type { Mask } from "../../layout/mask.ts";
import type { Sequence } from "../../layout/shards.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { PrefixOfK } from "../../tensor/heads.ts";

/** A row of O: a token (row of Q along the first axis of the whole batch) and a query head. */
export type Row = readonly [token: number, head: number];

/** Rows with their places among those that the caller named. */
export type IndexedRows = readonly (readonly [index: number, row: Row])[];

/** A seeded batch: whoever computes it and whoever verifies it each make its tensors from the seed. */
export interface SeededBatch {
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** T and P of each sequence. */
  readonly sequences: readonly Sequence[];
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D. */
  readonly headDim: number;
  /** What a query sees; default causal. */
  readonly mask?: Mask;
  /** The older way to write the masks `causal` (true) and `full` (false). */
  readonly causal?: boolean;
  /** Dv, the head size of values and O; default D. */
  readonly valueDim?: number;
  /** Values are the first elements of each row of K. */
  readonly v?: PrefixOfK;
  /** A learned logit for each query head, f32 `[H]`, once in each row's denominator; LSE includes it. */
  readonly sinks?: Float32Array;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
  /** How Q, K, V are held, and what kernels compute in; default "f32". Seeded values are exact in each. */
  readonly dtype?: DType;
}

/** How rows are computed again: "float64" in plain TypeScript, or "webgpu", f32 on this machine's GPU. */
export type Recomputation = "float64" | "webgpu";

/** Rows that somebody computed, to compute again here. */
export interface VerifyInput extends SeededBatch {
  /** The rows to compute again. */
  readonly rows: readonly Row[];
  /** f32 `[rows, Dv]`: the result to verify. */
  readonly out: Float32Array;
  /** f32 `[rows]`. */
  readonly lse: Float32Array;
  /** Default "float64". */
  readonly with?: Recomputation;
  /** Threads beside this one, each with a share of the rows; default: the machine's, at most 4. */
  readonly threads?: number;
  /** Ends the call with its reason. */
  readonly signal?: AbortSignal;
  /** Row-key pairs done, and their total. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called as each row is done: in a causal run, rows that see few keys come first. */
  readonly onRow?: (row: RowCheck) => void;
}

/** One row against its recomputation. Absolute errors. */
export interface RowCheck {
  /** Place in `rows`. */
  readonly index: number;
  /** The row. */
  readonly row: Row;
  /** Keys that it sees. */
  readonly keys: number;
  /** Of O: the largest error over the Dv columns, its column, and what was allowed there. */
  readonly out: {
    readonly error: number;
    readonly column: number;
    readonly found: number;
    readonly expected: number;
    readonly allowed: number;
  };
  /** Of LSE: the error, both values, and what was allowed. */
  readonly lse: { readonly error: number; readonly found: number; readonly expected: number; readonly allowed: number };
  /** Are both within what was allowed? */
  readonly passed: boolean;
}

/** The verdict over all rows. */
export interface Verification {
  /** Every row, in the order of the input. */
  readonly rows: readonly RowCheck[];
  /** Largest errors over the rows. */
  readonly maxOut: number;
  /** The largest error of LSE. */
  readonly maxLse: number;
  /** The row that comes nearest to, or goes farthest beyond, what is allowed; undefined if there were no rows. */
  readonly worst: RowCheck | undefined;
  /** The bar in words, by dtype. */
  readonly tolerance: string;
  /** How the rows were computed again. */
  readonly with: Recomputation;
  /** Seconds it took here. */
  readonly seconds: number;
  /** Did every row pass? */
  readonly passed: boolean;
}

/** Where results of a recomputation go. */
export interface Sink {
  /** Row-key pairs done since the last call. */
  pairs(n: number): void;
  row(exact: ExactRow): void;
}

/** One row, computed again. */
export interface ExactRow {
  /** Its place among the rows of the input. */
  readonly index: number;
  /** Keys that it sees. */
  readonly keys: number;
  /** O, of Dv elements. */
  readonly out: Float64Array;
  readonly lse: number;
  /**
   * sqrt(sum p^2), p the softmax weights: 1 if one key has all the weight, 1/sqrt(keys) if all weigh the same.
   */
  readonly spread: number;
}
