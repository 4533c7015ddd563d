/** The worker of Learn: one request, one answer, off the page's main thread. */
import { slow, type SlowRequest, type SlowResponse } from "./models/slow.ts";

const reply = (response: SlowResponse) => postMessage(response);

addEventListener("message", async ({ data: { name, args } }: MessageEvent<SlowRequest>) => {
  try {
    reply({ kind: "answer", value: await (slow[name] as (...args: readonly number[]) => Promise<unknown>)(...args) });
  } catch (error) {
    reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});
