/** The planner's worker: one request, one answer, off the main thread. */
import { InputError } from "../../engine/plan.ts";
import { answer } from "./compute.ts";
import type { Request, Response } from "./requests.ts";

const reply = (response: Response) => postMessage(response);

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    reply({ kind: "answer", value: await answer(data, (done, total) => reply({ kind: "progress", done, total })) });
  } catch (error) {
    reply({
      kind: "failed",
      message: error instanceof Error ? error.message : String(error),
      input: error instanceof InputError,
    });
  }
});
