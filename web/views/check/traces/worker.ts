/** Reads profiler traces; lives for one request, so cancelling ends it. */
import {
  InputError,
  type KinetoTrace,
  readHops,
  readKineto,
  requireOneEach,
  textOf,
} from "../../../engine/comparing.ts";
import { bytesOf } from "../../../lib/own/tensors.ts";
import type { Answer } from "./ask.ts";

const tell = (answer: Answer) => postMessage(answer);

addEventListener("message", async ({ data: files }: MessageEvent<readonly File[]>) => {
  try {
    const traces: KinetoTrace[] = [];
    for (const [place, file] of files.entries()) {
      tell({ kind: "progress", done: place, total: files.length });
      traces.push(readKineto(await textOf(await bytesOf(file, { InputError }), file.name), file.name, place));
    }
    requireOneEach(traces);
    tell({ kind: "read", reading: readHops(traces), device: traces[0].device });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    tell({ kind: "failed", name, message });
  }
});
