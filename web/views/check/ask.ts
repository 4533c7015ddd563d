/** What the view asks its worker, and what it answers. */
import { askWorker, type WorkerMessage } from "../../lib/ask-worker.ts";
import type { Comparison, RowHop } from "../../engine/compare.ts";
import type { Sorted } from "./names.ts";
import type { Settings } from "./state.ts";

/** A check: the files, what they are, and the settings. */
export interface Asked {
  readonly files: readonly File[];
  readonly sorted: Sorted;
  readonly settings: Settings;
  /** "cpu" asks for plain TypeScript. */
  readonly backend: "webgpu" | "cpu";
}

/** The sizes that the files' shapes give. */
export interface Sizes {
  readonly sequences: readonly { readonly new: number; readonly cached: number }[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
}

/** A check's result. */
export interface Outcome {
  readonly found: Comparison;
  readonly sizes: Sizes;
  /** The type that the bound is for. */
  readonly dtype: string;
  /** What computed, and why, if it is no adapter. */
  readonly adapter: string;
  /** The first wrong row hop by hop; empty if none is wrong. */
  readonly hops: readonly RowHop[];
}

/** A request. */
export type Request = { readonly kind: "peek"; readonly files: readonly File[] } | ({ readonly kind: "check" } & Asked);

/** An answer. */
export type Answer = Extract<WorkerMessage, { kind: "progress" | "failed" }> | {
  readonly kind: "peeked";
  /** By file: its tensors; null for .npy, and if they could not be read. */
  readonly holds: readonly (readonly string[] | null)[];
} | { readonly kind: "checked"; readonly outcome: Outcome };

/** Called on progress; `what` says what is counted, such as "files read". */
export type OnProgress = (done: number, total: number, what?: string) => void;

/** The names of the tensors in each file. */
export async function peek(files: readonly File[], signal: AbortSignal): Promise<(readonly string[] | undefined)[]> {
  const { holds } = await ask({ kind: "peek", files }, signal) as Extract<Answer, { kind: "peeked" }>;
  return holds.map((one) => one ?? undefined);
}

/** Checks. */
export async function check(asked: Asked, signal: AbortSignal, onProgress: OnProgress): Promise<Outcome> {
  const { outcome } = await ask({ kind: "check", ...asked }, signal, onProgress) as Extract<
    Answer,
    { kind: "checked" }
  >;
  return outcome;
}

const ask = (request: Request, signal: AbortSignal, onProgress?: OnProgress) =>
  askWorker<Answer>(
    "the check’s worker",
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
    request,
    signal,
    ({ name = "Error", message }) => Object.assign(new Error(message), { name }),
    onProgress,
  );
