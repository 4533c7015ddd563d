/** The check's worker: lives for one request, so cancelling ends it. */
import { attenders, NoAdapterError, platform } from "../../engine/comparing.ts";
import type { Answer, Request } from "./ask.ts";
import { checked, holdsOf } from "./compute.ts";

const tell = (answer: Answer) => postMessage(answer);

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === "peek") {
      const holds: (readonly string[] | null)[] = [];
      // One after the other, so that only one file's bytes are in memory.
      for (const file of data.files) holds.push(await holdsOf(file));
      tell({ kind: "peeked", holds });
      return;
    }
    const outcome = await checked(
      data,
      () => device(data.backend),
      (done, total, what) => tell({ kind: "progress", done, total, what }),
    );
    tell({ kind: "checked", outcome });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    tell({ kind: "failed", name, message });
  }
});

/** This machine's adapter. Without one, plain TypeScript, whose name then says why. */
async function device(backend: "webgpu" | "cpu"): ReturnType<typeof attenders> {
  try {
    return await attenders(platform, backend);
  } catch (error) {
    if (!(error instanceof NoAdapterError)) throw error;
    const cpu = await attenders(platform, "cpu");
    return { ...cpu, adapter: `${cpu.adapter} (${error.message})` };
  }
}
