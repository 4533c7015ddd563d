/** A Web Worker (browser, Deno) as a cluster sees it. */
import type { RankWorker } from "./platform.ts";

/** Wraps a started worker. A worker that closes itself makes no event: its silence is noticed instead. */
export function webWorker(worker: Worker): RankWorker {
  return {
    endpoint: worker,
    onDeath(listener) {
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        listener(event.message ? `its worker broke: ${event.message}` : "its worker's script could not be loaded");
      });
      worker.addEventListener("messageerror", () => listener("its worker sent a message that cannot be read"));
    },
    terminate: () => worker.terminate(),
  };
}
