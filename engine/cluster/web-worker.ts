/** A Web Worker (browser, Deno) as a cluster's worker. */
import { deferred } from "../rank/deferred.ts";
import type { RankWorker } from "./platform.ts";

/** Web Locks; insecure contexts have none. */
const locks = (navigator as { locks?: LockManager }).locks;

/** Seconds of silence that count as a worker's end (see ClusterPlatform): without locks, silence is the only sign. */
export const SILENCE = locks === undefined ? 15 : 120;

/**
 * Wraps a started worker. A worker that closes itself fires no event, but it releases its lock: the only way to notice
 * at once that a Web Worker died.
 */
export function webWorker(worker: Worker): RankWorker {
  const listeners: ((how: string) => void)[] = [];
  const died = (how: string) => {
    for (const listener of listeners) listener(how);
  };
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    died(event.message ? `its worker broke: ${event.message}` : "its worker's script could not be loaded");
  });
  worker.addEventListener("messageerror", () => died("its worker sent a message that cannot be read"));
  const lock = locks && `ringside rank ${crypto.randomUUID()}`;
  const ended = deferred<void>();
  let asked = false;
  return {
    endpoint: worker,
    onDeath: (listener) => void listeners.push(listener),
    lock,
    heard() {
      if (locks === undefined || asked) return;
      asked = true;
      locks.request(lock!, () => {
        ended.resolve();
        died("its worker ended");
      }).catch(ended.resolve);
    },
    async terminate() {
      worker.terminate();
      // Deno crashes if it exits while a worker still ends.
      if (asked) await ended.promise;
    },
    giveUp: () => worker.terminate(),
  };
}
