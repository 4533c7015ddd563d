/**
 * Takes files in: sorts them by name, has them read in a worker, and keeps what can be run. What is refused changes
 * nothing.
 */
import { readFiles } from "../experiment/check.ts";
import { type Letter, letterOf, letters, type OwnData, type OwnFiles } from "./data.ts";

/** A .npy file that waits for the others, and the tensor that it is to be. */
export interface Pending {
  readonly file: File;
  readonly as: Letter | undefined;
}

/** What a choice of files comes to: files to read, files that still wait, or what is wrong. */
export type Sorted = { readonly files: OwnFiles } | { readonly pending: readonly Pending[] } | {
  readonly problem: string;
};

/** Sorts chosen files; `waiting` are .npy files from before, which new ones join or replace. */
export function sort(chosen: readonly File[], waiting: readonly Pending[]): Sorted {
  const kind = (file: File) => /\.(npy|safetensors)$/i.exec(file.name)?.[1].toLowerCase();
  const other = chosen.find((file) => kind(file) === undefined);
  if (other !== undefined) {
    return {
      problem:
        `${other.name}: found a file that ends neither in .npy nor in .safetensors, expected one .safetensors with tensors q, k and v, or three .npy`,
    };
  }
  const tensors = chosen.find((file) => kind(file) === "safetensors");
  if (tensors !== undefined) {
    return chosen.length === 1 ? { files: { tensors } } : {
      problem: `${tensors.name}: found beside ${
        chosen.length === 2 ? "another file" : `${chosen.length - 1} other files`
      }, expected one .safetensors alone, or three .npy`,
    };
  }
  const fresh = chosen.map((file): Pending => ({ file, as: letterOf(file.name) }));
  const kept = waiting.filter(({ file, as }) =>
    fresh.every((f) => f.file.name !== file.name && (f.as === undefined || f.as !== as))
  );
  const pending = [...kept, ...fresh];
  if (pending.length > 3) {
    return {
      problem: `${
        pending.map(({ file }) => file.name).join(", ")
      }: found ${pending.length} .npy files, expected three: Q, K and V`,
    };
  }
  return settle(pending);
}

/** The files to read as soon as there are three and each is another tensor. */
export function settle(pending: readonly Pending[]): Sorted {
  const [q, k, v] = letters.map((letter) => pending.filter(({ as }) => as === letter));
  return q.length === 1 && k.length === 1 && v.length === 1
    ? { files: { q: q[0].file, k: k[0].file, v: v[0].file } }
    : { pending };
}

/** Fires "change" whenever anything of it changed. */
export class Intake extends EventTarget {
  /** What is run in place of seeded inputs. */
  data: OwnData | undefined;
  /** .npy files that wait for the others. */
  pending: readonly Pending[] = [];
  /** Files that are being read. */
  reading: OwnFiles | undefined;
  /** Why the last choice was refused, whole. */
  problem: string | undefined;
  #abort: AbortController | undefined;
  #taken = Promise.resolve(true);
  #accept: (data: OwnData) => string | undefined;

  /** `accept` puts the shapes of new data into the sentence, or says why they do not fit. */
  constructor(accept: (data: OwnData) => string | undefined) {
    super();
    this.#accept = accept;
  }

  /** Takes files that were dropped or chosen. */
  take(files: readonly File[]): void {
    if (files.length > 0) this.#taken = this.#follow(sort(files, this.pending));
  }

  /** Says which tensor a waiting file is; another file that was it is asked about anew. */
  assign(file: File, as: Letter | undefined): void {
    this.#taken = this.#follow(
      settle(this.pending.map((p) => (p.file === file ? { file, as } : p.as === as ? { ...p, as: undefined } : p))),
    );
  }

  /** Waits for files that are being read; resolves to whether they were taken, true where none are. */
  async taken(): Promise<boolean> {
    return this.reading === undefined || (await this.#taken);
  }

  /** Stops reading, and forgets what waits and what went wrong; what is run stays. */
  forget(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.#put({});
  }

  /** Runs these from now on, or seeded inputs. */
  use(data: OwnData | undefined): void {
    this.data = data;
    this.forget();
  }

  /** Reads sorted files; resolves to whether they were taken. */
  async #follow(sorted: Sorted): Promise<boolean> {
    this.#abort?.abort();
    this.#abort = undefined;
    if (!("files" in sorted)) {
      this.#put("pending" in sorted ? { pending: sorted.pending } : { problem: sorted.problem });
      return false;
    }
    const { files } = sorted;
    const abort = new AbortController();
    this.#abort = abort;
    this.#put({ reading: files });
    try {
      const data: OwnData = { files, facts: await readFiles(files, abort.signal) };
      const problem = this.#accept(data);
      if (problem === undefined) this.data = data;
      this.#put({ problem });
      return problem === undefined;
    } catch (error) {
      if (!abort.signal.aborted) this.#put({ problem: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }

  #put({ pending = [], reading, problem }: Partial<Pick<Intake, "pending" | "reading" | "problem">>): void {
    Object.assign(this, { pending, reading, problem });
    this.dispatchEvent(new Event("change"));
  }
}
