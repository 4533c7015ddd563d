/** Asks Learn's worker. A new question replaces an older one of the same name. The last answer is kept. */
import { askWorker } from "../../lib/ask-worker.ts";
import { keepLast } from "./memo.ts";
import type { Slow, SlowRequest, SlowResponse } from "./models/slow.ts";

/** {@link Slow} in a worker. */
export const fromWorker: Slow = {
  conversation: asking("conversation"),
  rooms: asking("rooms"),
  storing: asking("storing"),
};

function asking<K extends keyof Slow>(name: K): Slow[K] {
  let work: AbortController | undefined;
  return keepLast(async (...args: number[]) => {
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
