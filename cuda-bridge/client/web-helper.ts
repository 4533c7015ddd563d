/** A Web Worker (browser, Deno) as the client's Helper. */
import type { Helper } from "./platform.ts";

/** Wraps a started worker. */
export function webHelper(worker: Worker): Helper {
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
