/**
 * The worker of the shader bench: one device, one trial at a time. A kernel that hangs or loses the device does not
 * harm the page.
 */
import { openDevice, suits, tileKernelOf, Trials } from "../../engine/kernels.ts";
import type { Phase, Request, Told } from "./ask.ts";

/** Rounds of each timing. */
const REPEATS = 9;

const tell = (told: Told) => postMessage(told);
let trials: Trials | undefined;
let running: { readonly id: number; readonly abort: AbortController } | undefined;

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  const id = data.kind === "open" ? undefined : data.id;
  try {
    if (data.kind === "open") await open(data.texts);
    else if (data.kind === "stop") {
      if (running?.id === data.id) running.abort.abort();
    } else await tryText(data);
  } catch (error) {
    if (running !== undefined && running.id === id && running.abort.signal.aborted) {
      tell({ kind: "ended", id: id!, how: "stopped" });
    } else {
      tell({
        kind: "failed",
        id,
        name: error instanceof Error ? error.name : "Error",
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }
});

async function open(texts: Readonly<Record<string, string>>): Promise<void> {
  const gpu = await openDevice((navigator as { gpu?: GPU }).gpu);
  trials = new Trials(gpu, texts);
  tell({
    kind: "opened",
    device: {
      adapter: gpu.facts,
      clock: gpu.timestamps ? "GPU timestamps" : "host clock",
      tileKernel: tileKernelOf(gpu),
      unsuited: Object.keys(texts).filter((name) => !suits(name, gpu)),
    },
  });
}

async function tryText({ id, name, text }: Extract<Request, { kind: "try" }>): Promise<void> {
  const abort = new AbortController();
  const { signal } = abort;
  running = { id, abort };
  const step = (phase: Phase) => (done: number, total: number, what: string) => {
    signal.throwIfAborted();
    tell({ kind: "step", id, phase, done, total, what });
  };
  const messages = await trials!.compile(name, text, step("compile"));
  tell({ kind: "compiled", id, messages });
  if (!messages.some(({ kind }) => kind === "error")) {
    const { endless, unbounded } = await trials!.ends(name, text, signal, step("check"));
    if (endless !== undefined) throw Object.assign(new Error(endless), { name: "Endless" });
    if (unbounded !== undefined) {
      tell({
        kind: "compiled",
        id,
        messages: [...messages, {
          kind: "info",
          line: 0,
          column: 0,
          length: 0,
          message: `the first run could not bound its loops, so an endless loop would block the GPU: ${unbounded}`,
        }],
      });
    }
    const cases = await trials!.check(name, text, signal, step("check"));
    tell({ kind: "checked", id, cases: cases ?? null });
    // The time of a wrong kernel means nothing.
    if (cases?.every(({ passed }) => passed)) {
      tell({ kind: "timed", id, times: await trials!.time(name, text, REPEATS, signal, step("time")) });
    }
  }
  tell({ kind: "ended", id, how: "done" });
}
