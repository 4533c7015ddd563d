/** One request to a worker of its own, which ends with the answer or with the signal. */

/** What such a worker sends: progress, a failure, or anything else as its answer. */
export type WorkerMessage = { readonly kind: "progress"; readonly done: number; readonly total: number } | {
  readonly kind: "failed";
  readonly message: string;
} | { readonly kind: string };

/**
 * Starts a worker, asks it, and ends it. `name` stands in the error of one that breaks; `failure` makes the error of
 * one that failed.
 */
export function askWorker<M extends WorkerMessage>(
  name: string,
  start: () => Worker,
  request: unknown,
  signal: AbortSignal,
  failure: (failed: Extract<M, { kind: "failed" }>) => Error,
  onProgress?: (done: number, total: number) => void,
): Promise<Exclude<M, { kind: "failed" | "progress" }>> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const worker = start();
    const cancel = () => end(() => reject(signal.reason));
    const end = (settle: () => void) => {
      worker.terminate();
      signal.removeEventListener("abort", cancel);
      settle();
    };
    signal.addEventListener("abort", cancel);
    worker.addEventListener(
      "error",
      (event) => end(() => reject(new Error(`${name} failed: ${event.message || "it could not be loaded"}`))),
    );
    worker.addEventListener("message", ({ data }: MessageEvent<M>) => {
      if (data.kind === "progress") {
        const { done, total } = data as Extract<WorkerMessage, { kind: "progress" }>;
        onProgress?.(done, total);
      } else if (data.kind === "failed") end(() => reject(failure(data as Extract<M, { kind: "failed" }>)));
      else end(() => resolve(data as Exclude<M, { kind: "failed" | "progress" }>));
    });
    worker.postMessage(request);
  });
}
