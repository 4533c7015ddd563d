/** One request to a worker that lives for this request alone. */

/** What such a worker sends: progress, a failure, or anything else as its answer. */
export type WorkerMessage =
  | { readonly kind: "progress"; readonly done: number; readonly total: number; readonly what?: string }
  | { readonly kind: "failed"; readonly name?: string; readonly message: string }
  | { readonly kind: string };

/**
 * Starts a worker, asks it, and ends it after the answer or when the signal aborts. `name` appears in the error if the
 * worker breaks; `failure` makes the error of a worker that reports one.
 */
export function askWorker<M extends WorkerMessage>(
  name: string,
  start: () => Worker,
  request: unknown,
  signal: AbortSignal,
  failure: (failed: Extract<M, { kind: "failed" }>) => Error,
  onProgress?: (done: number, total: number, what?: string) => void,
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
        const { done, total, what } = data as Extract<WorkerMessage, { kind: "progress" }>;
        onProgress?.(done, total, what);
      } else if (data.kind === "failed") end(() => reject(failure(data as Extract<M, { kind: "failed" }>)));
      else end(() => resolve(data as Exclude<M, { kind: "failed" | "progress" }>));
    });
    worker.postMessage(request);
  });
}
