/**
 * Takes the visitor's files: sorts them by name, has a worker read them, and keeps what can run. A rejected choice
 * changes nothing.
 */
import { readFiles } from "../experiment/check.ts";
import { type Letter, letterOf, letters, type OwnData, type OwnFiles } from "./data.ts";

/** A .npy file that waits for the others, and the tensor that it holds. */
export interface Pending {
  readonly file: File;
  readonly as: Letter | undefined;
}

/** A choice of files, sorted: files to read, files that wait for others, or what is wrong. */
export type Sorted = { readonly files: OwnFiles } | { readonly pending: readonly Pending[] } | {
  readonly problem: string;
};

/** Sorts chosen files. `waiting` are earlier .npy files, which the new ones join or replace. */
export function sort(chosen: readonly File[], waiting: readonly Pending[]): Sorted {
  const kind = (file: File) => /\.(npy|safetensors)$/i.exec(file.name)?.[1].toLowerCase();
  const other = chosen.find((file) => kind(file) === undefined);
  if (other !== undefined) {
    return {
      problem:
        `${other.name}: found neither .npy nor .safetensors, expected one .safetensors with tensors q, k and v, or three .npy`,
    };
  }
  const tensors = chosen.find((file) => kind(file) === "safetensors");
  if (tensors !== undefined) {
    return chosen.length === 1 ? { files: { tensors } } : {
      problem: `${tensors.name}: found with ${
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

/** The files to read, once there are three with one tensor each. */
export function settle(pending: readonly Pending[]): Sorted {
  const [q, k, v] = letters.map((letter) => pending.filter(({ as }) => as === letter));
  return q.length === 1 && k.length === 1 && v.length === 1
    ? { files: { q: q[0].file, k: k[0].file, v: v[0].file } }
    : { pending };
}

/** Fires "change" on each change. */
export class Intake extends EventTarget {
  /** The data that runs use in place of seeded inputs. */
  data: OwnData | undefined;
  /** .npy files that wait for the others. */
  pending: readonly Pending[] = [];
  /** The files that a worker is reading. */
  reading: OwnFiles | undefined;
  /** Why the last choice was rejected. */
  problem: string | undefined;
  #abort: AbortController | undefined;
  #taken = Promise.resolve(true);
  #accept: (data: OwnData) => string | undefined;

  /** `accept` puts the shapes of new data into the sentence, or returns why they don't fit. */
  constructor(accept: (data: OwnData) => string | undefined) {
    super();
    this.#accept = accept;
  }

  /** Takes dropped or chosen files. */
  take(files: readonly File[]): void {
    if (files.length > 0) this.#taken = this.#follow(sort(files, this.pending));
  }

  /** Assigns a tensor to a waiting file. A file that had it loses it. */
  assign(file: File, as: Letter | undefined): void {
    this.#taken = this.#follow(
      settle(this.pending.map((p) => (p.file === file ? { file, as } : p.as === as ? { ...p, as: undefined } : p))),
    );
  }

  /** Waits until the files are read. Resolves to whether they were accepted; true if there are none. */
  async taken(): Promise<boolean> {
    return this.reading === undefined || (await this.#taken);
  }

  /** Stops reading, and forgets waiting files and problems. The data in use stays. */
  forget(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.#put({});
  }

  /** Makes runs use this data from now on; undefined: seeded inputs. */
  use(data: OwnData | undefined): void {
    this.data = data;
    this.forget();
  }

  /** Reads sorted files. Resolves to whether they were accepted. */
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
