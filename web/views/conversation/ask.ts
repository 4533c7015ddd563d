/** Asks a worker for the rows of a turn and their check against float64, so that the main thread stays free. */
import { askWorker } from "../../lib/ask-worker.ts";
import type { Check } from "../../lib/experiment/judge.ts";
import type { CheckInput } from "../../engine/run.ts";
import type { Rows } from "./steps.ts";
import type { Settings } from "../../lib/address/conversation.ts";

/** q `[rows, H, D]`, k and v `[rows, Hkv, D]` of one sequence in a turn. */
export interface TurnRows extends Rows {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** The session's O `[rows, H, D]` and LSE `[rows, H]` of one sequence in a turn. */
export interface TurnOutput extends Rows {
  readonly out: Float32Array;
  readonly lse: Float32Array;
}

/** What determines the seeded inputs. */
export type Source = Pick<Settings, "seed" | "N" | "H" | "Hkv" | "D" | "mask" | "wire">;

/** Requests to the worker. `share`: the share of a turn's rows to check, 0 to 1. `products` as in CheckInput. */
export type Request =
  | { readonly kind: "rows"; readonly source: Source; readonly rows: readonly Rows[] }
  | {
    readonly kind: "check";
    readonly source: Source;
    readonly outputs: readonly TurnOutput[];
    readonly share: number;
    readonly products: CheckInput["products"];
  };

/** Answers of the worker. */
export type Response =
  | { readonly kind: "rows"; readonly rows: readonly TurnRows[] }
  | { readonly kind: "progress"; readonly done: number; readonly total: number }
  | { readonly kind: "checked"; readonly check: Check }
  | { readonly kind: "failed"; readonly message: string };

/** The row of the seeded tensors at which a sequence begins. Sequences never share rows, however long they get. */
export const firstRow = (sequence: number): number => sequence * 2 ** 24;

/** The seeded rows of a turn. */
export async function makeRows(
  source: Source,
  rows: readonly Rows[],
  signal: AbortSignal,
): Promise<readonly TurnRows[]> {
  return (await ask({ kind: "rows", source, rows }, signal) as Extract<Response, { kind: "rows" }>).rows;
}

/** Compares a turn's O and LSE with the same rows of one full prefill in float64. */
export async function checkTurn(
  source: Source,
  outputs: readonly TurnOutput[],
  { share, products }: { readonly share: number; readonly products: CheckInput["products"] },
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<Check> {
  return (await ask({ kind: "check", source, outputs, share, products }, signal, onProgress) as Extract<
    Response,
    { kind: "checked" }
  >).check;
}

const ask = (
  request: Request,
  signal: AbortSignal,
  onProgress?: (done: number, total: number) => void,
): Promise<Response> =>
  askWorker<Response>(
    "the conversation's worker",
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
    request,
    signal,
    ({ message }) => new Error(message),
    onProgress,
  );
