/** Asks a worker for inputs and for the check against float64, so that the main thread stays free. */
import { askWorker } from "../ask-worker.ts";
import { type AttendResult, type CheckInput, type KeyRun, productsOf } from "../../engine/run.ts";
import type { ExactHop } from "./exact.ts";
import type { Experiment } from "./experiment.ts";
import type { Check } from "./judge.ts";
import type { OwnFacts, OwnFiles } from "../own/data.ts";

/** Q, K and V of an experiment. */
export interface Inputs {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly sinks?: Float32Array;
}

/** Requests to the worker. */
export type Request =
  | { readonly kind: "read"; readonly files: OwnFiles }
  | { readonly kind: "inputs"; readonly experiment: Experiment; readonly files?: OwnFiles }
  | {
    readonly kind: "check";
    readonly experiment: Experiment;
    readonly files?: OwnFiles;
    readonly out: Float32Array;
    readonly lse: Float32Array;
    readonly products: CheckInput["products"];
  }
  | {
    readonly kind: "partials";
    readonly experiment: Experiment;
    readonly files?: OwnFiles;
    readonly row: number;
    readonly hops: readonly (readonly KeyRun[])[];
  };

/** Answers of the worker. */
export type Response =
  | { readonly kind: "read"; readonly facts: OwnFacts }
  | { readonly kind: "inputs"; readonly inputs: Inputs; readonly underflows: readonly string[] }
  | { readonly kind: "progress"; readonly done: number; readonly total: number }
  | { readonly kind: "checked"; readonly check: Check }
  | { readonly kind: "partials"; readonly hops: readonly ExactHop[] }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

type Progress = (done: number, total: number) => void;

/** The contents of the visitor's files. Errors are the engine's InputErrors. */
export async function readFiles(files: OwnFiles, signal: AbortSignal): Promise<OwnFacts> {
  const answer = await ask({ kind: "read", files }, signal);
  return (answer as Extract<Response, { kind: "read" }>).facts;
}

/** Q, K and V of an experiment, seeded or from files, and a line for each tensor that underflows in the wire's type. */
export async function makeInputs(
  experiment: Experiment,
  files: OwnFiles | undefined,
  signal: AbortSignal,
): Promise<{ readonly inputs: Inputs; readonly underflows: readonly string[] }> {
  const answer = await ask({ kind: "inputs", experiment, files }, signal);
  return answer as Extract<Response, { kind: "inputs" }>;
}

/** Compares O and LSE with float64 attention of the experiment's inputs. */
export async function checkResult(
  experiment: Experiment,
  files: OwnFiles | undefined,
  { out, lse, report }: AttendResult,
  signal: AbortSignal,
  onProgress: Progress,
): Promise<Check> {
  const answer = await ask(
    { kind: "check", experiment, files, out, lse, products: productsOf(report.kernel) },
    signal,
    onProgress,
  );
  return (answer as Extract<Response, { kind: "checked" }>).check;
}

/** Float64 partials of one row of Q, hop by hop, over the keys that each hop adds. */
export async function exactPartials(
  experiment: Experiment,
  files: OwnFiles | undefined,
  row: number,
  hops: readonly (readonly KeyRun[])[],
  signal: AbortSignal,
): Promise<readonly ExactHop[]> {
  const answer = await ask({ kind: "partials", experiment, files, row, hops }, signal);
  return (answer as Extract<Response, { kind: "partials" }>).hops;
}

const ask = (request: Request, signal: AbortSignal, onProgress?: Progress) =>
  askWorker<Response>(
    "the page's check worker",
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
    request,
    signal,
    ({ name, message }) => Object.assign(new Error(message), { name }),
    onProgress,
  );
