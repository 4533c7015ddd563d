/** What the part asks its worker: profiler traces are large, and are read off the page's thread. */
import type { TraceReading } from "../../../engine/compare.ts";
import { askWorker, type WorkerMessage } from "../../../lib/ask-worker.ts";

/** What was read. */
export interface Read {
  readonly reading: TraceReading;
  readonly device: "gpu" | "cpu";
}

/** An answer. */
export type Answer = Extract<WorkerMessage, { kind: "progress" | "failed" }> | ({ readonly kind: "read" } & Read);

/** Reads the traces of one run, a file for each rank. Errors are the engine's InputErrors. */
export async function readTraces(
  files: readonly File[],
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<Read> {
  return await askWorker<Answer>(
    "the worker that reads traces",
    () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" }),
    files,
    signal,
    ({ name = "Error", message }) => Object.assign(new Error(message), { name }),
    onProgress,
  ) as Extract<Answer, { kind: "read" }>;
}
