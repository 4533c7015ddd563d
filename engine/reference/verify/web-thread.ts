/** A Web Worker (browser, Deno) as a thread that verifies. */
import type { VerifyThread } from "./platform.ts";

/** Wraps a started worker. */
export function webThread(worker: Worker): VerifyThread {
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => worker.addEventListener("message", ({ data }) => listener(data)),
    onDeath: (listener) =>
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        listener(event.message || "its script could not be loaded");
      }),
    terminate: () => worker.terminate(),
  };
}
