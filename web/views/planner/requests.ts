/** Asks a worker for plans, curves, maps and the paper's tables, so that the main thread stays free. */
import type { PaperReport, Plan, Sweep } from "../../engine/plan.ts";
import { askWorker } from "../../lib/ask-worker.ts";
import type { Span, Variant } from "../../engine/run.ts";
import type { Question } from "../../lib/address/plan.ts";

/** One variant of the step in question, with the spans of one layer. */
export interface Simulated {
  readonly variant: Variant;
  readonly plan: Plan;
  /** Spans of the first `shown` ranks; empty if the engine simulates one rank for all. */
  readonly spans: readonly Span[];
  readonly shown: number;
}

/** The plan, and the simulations of both variants, or of one if there is one rank. */
export interface Planned {
  readonly plan: Plan;
  readonly both: readonly Simulated[];
  /** The plan with each dealing, if a layer has a window or chunks and there are ranks to deal to. */
  readonly dealings: readonly Plan[];
}

/** A point of a curve. */
export interface CurvePoint {
  readonly context: number;
  /** TTFT in seconds. */
  readonly seconds: number;
  readonly variant: Variant;
  /** Whether it fits in memory. */
  readonly fits: boolean;
}

/** TTFT of a full prefill against context, for one layout. */
export interface Curve {
  readonly cp: number;
  readonly tp: number;
  readonly points: readonly CurvePoint[];
}

/** A printed TTFT of a full prefill. */
export interface PaperPoint {
  readonly id: string;
  readonly table: string;
  readonly label: string;
  readonly context: number;
  readonly cp: number;
  readonly tp: number;
  /** Seconds as printed, and as predicted. */
  readonly paper: number;
  readonly model: number;
  readonly origin: "calibrated" | "predicted" | "formula";
  /** Why it can't measure the model, if it can't. */
  readonly excluded?: string;
}

/** Curves, and the paper's points. */
export interface Curves {
  readonly curves: readonly Curve[];
  readonly paper: readonly PaperPoint[];
}

/** The faster variant in the simulation, over T and miss rate. */
export interface Grid {
  /** T at the middle of each column, miss rate at the middle of each row. */
  readonly tokens: readonly number[];
  readonly misses: readonly number[];
  /** ln(pass-Q / pass-KV) by row, then column: above 0 if pass-KV is faster. */
  readonly lead: Float64Array;
  /** 1 if new and cached tokens fit in memory, in the order of `lead`. */
  readonly fits: Uint8Array;
}

/** Requests to the worker. */
export type Request =
  | { readonly kind: "plan"; readonly question: Question }
  | { readonly kind: "curves"; readonly question: Question }
  | { readonly kind: "grid"; readonly question: Question }
  | { readonly kind: "layouts"; readonly question: Question; readonly maxGpus: number }
  | { readonly kind: "report" }
  | { readonly kind: "trace"; readonly question: Question; readonly variant: Variant };

/** Answers of the worker, by kind. */
export interface Answers {
  readonly plan: Planned;
  readonly curves: Curves;
  readonly grid: Grid;
  readonly layouts: Sweep;
  readonly report: PaperReport;
  readonly trace: string;
}

/** A message of the worker. */
export type Response =
  | { readonly kind: "progress"; readonly done: number; readonly total: number }
  | { readonly kind: "answer"; readonly value: unknown }
  | { readonly kind: "failed"; readonly message: string; readonly input: boolean };

/** The engine rejects the question. The message is the engine's. */
export class RefusedQuestion extends Error {}

/** Asks a worker that lives for this request. Errors: RefusedQuestion if the engine rejects the question. */
export async function ask<K extends Request["kind"]>(
  request: Extract<Request, { kind: K }>,
  signal: AbortSignal,
  onProgress?: (done: number, total: number) => void,
): Promise<Answers[K]> {
  const start = () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const answer = await askWorker<Response>(
    "the planner's worker",
    start,
    request,
    signal,
    ({ input, message }) => (input ? new RefusedQuestion(message) : new Error(message)),
    onProgress,
  );
  return answer.value as Answers[K];
}
