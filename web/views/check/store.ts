/** The state of Check: files and what they are, the settings, the check under way, and its result. */
import { check, type Outcome, peek } from "./ask.ts";
import { type Given, ranksOf, type Sorted, sortFiles } from "./names.ts";
import { defaults, type Draft, type Field, fromQuery, read, type Settings, toQuery } from "./state.ts";

/** A result and what it answers. */
export interface Answered {
  readonly outcome: Outcome;
  readonly settings: Settings;
  readonly sorted: Sorted;
}

/** Where a check is. "idle": none was started since the last result or change. */
export type Phase = "idle" | "running" | "failed" | "cancelled";

/** Fires "change" on each change. */
export class CheckStore extends EventTarget {
  draft: Draft;
  files: readonly File[] = [];
  sorted: Sorted = sortFiles([]);
  /** True while a worker reads the names of the tensors in new files. */
  peeking = false;
  phase: Phase = "idle";
  progress: { readonly done: number; readonly total: number; readonly what: string } | undefined;
  failure: string | undefined;
  answered: Answered | undefined;
  /** True if settings or files have changed since the result. */
  stale = false;
  #holds = new Map<File, readonly string[] | undefined>();
  /** Whether somebody chose the number of ranks: then files don't. */
  #rankGiven: boolean;
  #search = location.search;
  #work: AbortController | undefined;
  #peek: AbortController | undefined;

  constructor() {
    super();
    this.draft = fromQuery(location.search);
    this.#rankGiven = this.draft.ranks !== defaults.ranks;
  }

  get reading(): ReturnType<typeof read> {
    return read(this.draft);
  }

  /** What is wrong in the sentence. */
  get problems(): ReadonlyMap<string, string> {
    const problems = new Map<string, string>(this.reading.problems);
    const { kind } = this.sorted;
    if (kind !== undefined && kind !== "theirs" && this.draft.layout === "none") {
      problems.set("layout", "Layout: found none, expected the layout of these files by rank: who holds which token.");
    }
    return problems;
  }

  /** Why there is nothing to check yet; undefined if there is. */
  get waits(): string | undefined {
    if (this.peeking) return "Reading the files’ names.";
    const { missing, problems } = this.sorted;
    if (problems.length > 0) return "Replace or remove the files that are not understood.";
    return missing.length > 0 ? `Still missing: ${missing.join("; ")}.` : undefined;
  }

  /** Follows the address, unless it leads to another view. */
  sync(): void {
    if (location.search === this.#search || location.hash !== "#check") return;
    this.#search = location.search;
    const draft = fromQuery(location.search);
    if (toQuery(draft, "") === toQuery(this.draft, "")) return;
    this.draft = draft;
    this.#rankGiven = draft.ranks !== defaults.ranks;
    this.#dirty();
  }

  /** Takes dropped or chosen files. One of the same name replaces the older. */
  async take(fresh: readonly File[]): Promise<void> {
    if (fresh.length === 0) return;
    const names = new Set(fresh.map(({ name }) => name));
    this.files = [...this.files.filter(({ name }) => !names.has(name)), ...fresh];
    await this.#sort();
  }

  /** Forgets a file, or all. */
  forget(file?: File): void {
    this.files = file === undefined ? [] : this.files.filter((one) => one !== file);
    void this.#sort();
  }

  async #sort(): Promise<void> {
    this.#peek?.abort();
    const abort = new AbortController();
    this.#peek = abort;
    this.#dirty();
    const unknown = this.files.filter((file) => /\.(npz|safetensors)$/i.test(file.name) && !this.#holds.has(file));
    if (unknown.length > 0) {
      this.peeking = true;
      this.#changed();
      try {
        const holds = await peek(unknown, abort.signal);
        unknown.forEach((file, i) => this.#holds.set(file, holds[i]));
      } catch (error) {
        if (abort.signal.aborted) return;
        this.failure = error instanceof Error ? error.message : String(error);
        this.phase = "failed";
      }
    }
    if (abort.signal.aborted) return;
    this.peeking = false;
    this.sorted = sortFiles(this.files.map((file): Given => ({ name: file.name, holds: this.#holds.get(file) })));
    const ranks = ranksOf(this.sorted);
    if (ranks > 0 && !this.#rankGiven) this.#put({ ...this.draft, ranks: String(ranks) });
    this.#changed();
  }

  /** Notes a text while somebody types it. */
  type(field: Field, text: string): void {
    this.draft = { ...this.draft, [field]: text };
    this.#changed();
  }

  /** Takes a setting. */
  edit(field: Field, text: string): void {
    if (field === "ranks") this.#rankGiven = true;
    this.#put({ ...this.draft, [field]: text.trim() });
    this.#dirty();
  }

  #put(draft: Draft): void {
    this.draft = draft;
    if (read(draft).settings === undefined) return;
    const query = toQuery(draft, location.search);
    history.replaceState(null, "", `${query === "" ? location.pathname : `?${query}`}${location.hash}`);
    this.#search = location.search;
  }

  /** Checks. */
  async check(): Promise<void> {
    const { settings } = this.reading;
    if (settings === undefined || this.problems.size > 0 || this.waits !== undefined) return this.#changed();
    this.stop();
    const work = new AbortController();
    this.#work = work;
    const { sorted, files } = this;
    this.phase = "running";
    this.failure = undefined;
    this.progress = undefined;
    this.#changed();
    const backend = new URLSearchParams(location.search).get("backend") === "cpu" ? "cpu" : "webgpu";
    try {
      const outcome = await check({ files, sorted, settings, backend }, work.signal, (done, total, what = "") => {
        this.progress = { done, total, what };
        this.#changed();
      });
      this.answered = { outcome, settings, sorted };
      this.stale = false;
      this.phase = "idle";
    } catch (error) {
      if (this.#work !== work) return;
      this.phase = work.signal.aborted ? "cancelled" : "failed";
      if (this.phase === "failed") this.failure = error instanceof Error ? error.message : String(error);
    }
    this.#changed();
  }

  /** Ends the check under way. */
  stop(): void {
    this.#work?.abort();
  }

  /** Settings or files are not those of the result any more. */
  #dirty(): void {
    this.stop();
    this.stale = this.answered !== undefined;
    if (this.phase !== "running") this.phase = "idle";
    this.failure = undefined;
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}
