/** Opens files: a recorded run, the document of the GPU check, or one of those that ship with the page. */
import { H200_CHECK, loadComplaint } from "../../engine/remote.ts";
import type { CheckDocument } from "./check-document.ts";
import { MOST_BYTES, NotARun, parse, readRun, type RecordedRun } from "./record.ts";

/** A file that the stage shows. */
export type Opened =
  | { readonly kind: "run"; readonly name: string; readonly run: RecordedRun; readonly shipped?: string }
  | { readonly kind: "check"; readonly name: string; readonly check: CheckDocument; readonly shipped?: string };

/** A run, or a GPU check, that ships with the page. */
export interface Shipped {
  /** In the address: `run=ID`. */
  readonly id: string;
  readonly title: string;
  readonly url: string;
}

/** `test/record-remote.mjs` made the run with a real worker, `ringside_worker.gpu_check` made the check. */
export const shipped: readonly Shipped[] = [
  { id: "cpu-4-ranks", title: "4 gloo ranks on a CPU", url: new URL("./runs/cpu-4-ranks.json", import.meta.url).href },
  {
    id: "h200-check",
    title: "GPU check on an NVIDIA H200",
    url: H200_CHECK,
  },
];

/** The shipped run of that name. */
export function shippedOf(id: string): Shipped | undefined {
  return shipped.find((run) => run.id === id);
}

/** Reads a file. Errors: NotARun. */
export async function openFile(file: File, signal: AbortSignal): Promise<Opened> {
  if (file.size > MOST_BYTES) throw new NotARun(`the file, bytes: found ${file.size}, expected at most ${MOST_BYTES}`);
  const text = await file.text();
  signal.throwIfAborted();
  return await readText(text, file.name);
}

/** Loads a run that ships. Errors: NotARun if the name is unknown or it can't be loaded. */
export async function openShipped(id: string, signal: AbortSignal): Promise<Opened> {
  const known = shippedOf(id);
  if (known === undefined) throw new NotARun(`run: found ${id}, expected ${shipped.map((run) => run.id).join(" or ")}`);
  const answer = await fetch(known.url, { signal });
  if (!answer.ok) throw new NotARun(`${known.url}: the page’s server answered ${answer.status}`);
  return { ...(await readText(await answer.text(), known.title)), shipped: id };
}

async function readText(text: string, name: string): Promise<Opened> {
  const json = parse(text);
  const [{ isCheck, readCheck }, complain] = await Promise.all([import("./check-document.ts"), loadComplaint()]);
  return isCheck(json)
    ? { kind: "check", name, check: readCheck(json, complain) }
    : { kind: "run", name, run: readRun(json, complain) };
}
