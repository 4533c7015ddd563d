/** Asks Learn's worker. A newer question of a name takes the place of an older one; the last answer is kept. */
import { askWorker } from "../../lib/ask-worker.ts";
import { last } from "./memo.ts";
import type { Slow, SlowRequest, SlowResponse } from "./models/slow.ts";

/** {@link Slow} in a worker. */
export const fromWorker: Slow = {
  conversation: asking("conversation"),
  rooms: asking("rooms"),
  storing: asking("storing"),
};

function asking<K extends keyof Slow>(name: K): Slow[K] {
  let work: AbortController | undefined;
  return last(async (...args: number[]) => {
    work?.abort();
    work = new AbortController();
    const start = () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    const request: SlowRequest = { name, args };
    const { value } = await askWorker<SlowResponse>(
      "Learn’s worker",
      start,
      request,
      work.signal,
      ({ message }) => new Error(message),
    );
    return value;
  }) as Slow[K];
}
