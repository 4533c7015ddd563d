/**
 * The view's state in one place: which kernel and text are open, what was typed, how its trial goes, and the address of
 * all that.
 */
import {
  type CaseResult,
  isRun,
  type Message,
  readTexts,
  tileKernelOfAll,
  type TrialTime,
} from "../../engine/kernels.ts";
import { probeAdapter } from "../../lib/adapter.ts";
import { fingerprint, type KeptKernel, type KeptKernels } from "../../lib/kept-kernels.ts";
import { Bench, type Device, type Phase } from "./ask.ts";

/** A trial of a text, under way or ended. */
export interface Trial {
  readonly kernel: string;
  readonly text: string;
  readonly state: "waiting" | "opening" | Phase | "done" | "stopped" | "failed";
  readonly progress?: { readonly done: number; readonly total: number; readonly what: string };
  readonly messages?: readonly Message[];
  /** Null: the grid does not run such a kernel. */
  readonly cases?: readonly CaseResult[] | null;
  readonly times?: readonly TrialTime[];
  /** Where it failed, and why. */
  readonly failure?: { readonly at: Trial["state"]; readonly name: string; readonly message: string };
}

/** Whether there is a device to try anything on. */
export type Access = { readonly kind: "unknown" } | { readonly kind: "open"; readonly device: Device } | {
  readonly kind: "none";
  readonly why: string;
};

/** Milliseconds without an edit before a trial starts. */
const PAUSE = 800;

const KERNEL = "kernel", TEXT = "text";

/** Fires "change" on each change. It outlives the view's element, so that reopening the view shows what was typed. */
export class ShadersStore extends EventTarget {
  /** The shipped texts by name; undefined until they arrive. */
  texts: Readonly<Record<string, string>> | undefined;
  /** Why the texts could not be read. */
  unread: string | undefined;
  access: Access = { kind: "unknown" };
  trial: Trial | undefined;
  /** The outcome of the last action, for the visitor. */
  notice = "";
  readonly #keptKernels: KeptKernels;
  #kernel: string | undefined;
  #kept: string | undefined;
  /** A kept kernel that the address names and this browser does not have. */
  #absent: string | undefined;
  #edited = new Map<string, string>();
  #bench: Bench | undefined;
  #work: AbortController | undefined;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #search: string | undefined;

  constructor(keptKernels: KeptKernels) {
    super();
    this.#keptKernels = keptKernels;
    keptKernels.addEventListener("change", () => {
      this.notice = "";
      // The open kernel may have been deleted, here or in another tab.
      if (
        this.#kernel !== undefined && this.#kept !== undefined &&
        keptKernels.find(this.#kernel, this.#kept) === undefined
      ) this.#open(this.#kernel, undefined, this.text);
      this.#changed();
    });
  }

  /** Reads the address, loads the texts and opens a device, unless that was done before. */
  async begin(): Promise<void> {
    this.sync();
    try {
      this.texts ??= await readTexts(async (url) => {
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(`found status ${answer.status} at ${url.pathname}`);
        return await answer.text();
      });
    } catch (error) {
      this.unread = error instanceof Error ? error.message : String(error);
      this.#changed();
      return;
    }
    const bench = (this.#bench ??= new Bench(this.texts));
    let access: Access;
    try {
      const { webgpu, name } = await probeAdapter();
      access = webgpu ? { kind: "open", device: await bench.open() } : { kind: "none", why: name };
    } catch (error) {
      access = { kind: "none", why: error instanceof Error ? error.message : String(error) };
    }
    // The visitor may have left the view meanwhile.
    if (this.#bench !== bench) return;
    this.access = access;
    // The address names no kernel: open the one that runs here.
    if (this.#kernel === undefined) {
      this.#open(this.access.kind === "open" ? this.access.device.tileKernel : tileKernelOfAll, undefined);
    }
    this.#changed();
  }

  /** Ends the trial under way and gives the device back. */
  leave(): void {
    this.stop();
    this.#bench?.close();
    this.#bench = undefined;
    this.access = { kind: "unknown" };
  }

  /** Follows the address. */
  sync(): void {
    if (location.search === this.#search) return;
    this.#search = location.search;
    const query = new URLSearchParams(location.search);
    const kernel = query.get(KERNEL);
    if (kernel !== null) this.#open(kernel, query.get(TEXT) ?? undefined);
  }

  /** The kernel whose text is open, or undefined until it is known. */
  get kernel(): string | undefined {
    return this.#kernel !== undefined && this.texts !== undefined && !Object.hasOwn(this.texts, this.#kernel)
      ? Object.keys(this.texts)[0]
      : this.#kernel;
  }

  /** The kept kernel that is open, or undefined for the shipped text. */
  get kept(): KeptKernel | undefined {
    return this.kernel === undefined || this.#kept === undefined
      ? undefined
      : this.#keptKernels.find(this.kernel, this.#kept);
  }

  /** Says if the address names a kernel or text that this browser does not have. */
  get missing(): string | undefined {
    const kernel = this.#kernel;
    if (kernel !== undefined && this.texts !== undefined && !Object.hasOwn(this.texts, kernel)) {
      return `This page has no kernel “${kernel}” and shows ${this.kernel} instead.`;
    }
    return this.#absent === undefined
      ? undefined
      : `This browser keeps no ${kernel} named “${this.#absent}”. Here is the shipped text.`;
  }

  /** The text before edits. */
  get base(): string {
    return this.kept?.text ?? this.shipped;
  }

  get shipped(): string {
    return this.kernel === undefined ? "" : (this.texts?.[this.kernel] ?? "");
  }

  /** The text with edits. */
  get text(): string {
    return this.#edited.get(this.key) ?? this.base;
  }

  /** Names the editor's document. Each document has its own undo history. */
  get key(): string {
    return `${this.kernel}/${this.#kept ?? ""}`;
  }

  get edited(): boolean {
    return this.text !== this.base;
  }

  get running(): boolean {
    return this.#work !== undefined;
  }

  /** The trial of the current text, if there was one. */
  get own(): Trial | undefined {
    return this.trial?.kernel === this.kernel && this.trial?.text === this.text ? this.trial : undefined;
  }

  /** Whether runs of the page can use this kernel. */
  get runs(): boolean {
    return this.kernel !== undefined && isRun(this.kernel);
  }

  /** Why this text can't be kept, or undefined if it can. */
  get unkeepable(): string | undefined {
    const trial = this.own;
    if (!this.runs) return "No run of this page uses this kernel, only “ringside bench” does. Export it instead.";
    if (this.text === this.shipped) return "This is the shipped text. There is nothing to keep.";
    if (trial?.messages?.some(({ kind }) => kind === "error")) return "A text that does not compile can’t be kept.";
    if (trial?.state !== "done" || !trial.cases) return "You can keep the text once it is checked and timed.";
    return undefined;
  }

  /** Opens a kernel's shipped text, or a kept kernel. */
  open(kernel: string, kept?: string): void {
    this.#open(kernel, kept);
    this.#write();
    this.#changed();
  }

  /** Takes what was typed and tries it after a pause. */
  edit(text: string): void {
    if (text === this.text) return;
    this.stop();
    this.notice = "";
    if (text === this.base) this.#edited.delete(this.key);
    else this.#edited.set(this.key, text);
    if (this.access.kind !== "none" && text !== this.shipped) {
      this.trial = { kernel: this.kernel!, text, state: "waiting" };
      this.#pause = setTimeout(() => void this.run(), PAUSE);
    }
    this.#changed();
  }

  /** Undoes all edits. */
  revert(): void {
    this.stop();
    this.#edited.delete(this.key);
    this.notice = `Back to ${this.kept === undefined ? "the shipped text" : `“${this.kept.name}” without edits`}.`;
    this.#changed();
  }

  /** Compiles, checks and times the text. Resolves when the trial is done, failed or stopped. */
  async run(): Promise<void> {
    this.stop();
    const { kernel, text: text } = this;
    const bench = this.#bench;
    if (kernel === undefined || bench === undefined) return;
    const work = new AbortController();
    this.#work = work;
    const set = (part: Partial<Trial>) => {
      if (this.#work !== work) return;
      this.trial = { ...this.trial!, progress: undefined, ...part };
      this.#changed();
    };
    this.trial = { kernel, text, state: "opening" };
    this.#changed();
    try {
      const device = await bench.open();
      this.access = { kind: "open", device };
      await bench.try(kernel, text, work.signal, (told) => {
        if (told.kind === "step") set({ state: told.phase, progress: told });
        else if (told.kind === "compiled") set({ messages: told.messages });
        else if (told.kind === "checked") set({ cases: told.cases });
        else set({ times: told.times });
      });
      set({ state: "done" });
    } catch (error) {
      if (work.signal.aborted) return;
      set({
        state: "failed",
        failure: {
          at: this.trial.state,
          name: error instanceof Error ? error.name : "Error",
          message: error instanceof Error ? error.message : String(error),
        },
      });
    } finally {
      if (this.#work === work) this.#work = undefined;
      this.#changed();
    }
  }

  /** Stops the trial under way, or the one that waits for a pause. */
  stop(): void {
    clearTimeout(this.#pause);
    const work = this.#work;
    this.#work = undefined;
    if (this.trial !== undefined && (work !== undefined || this.trial.state === "waiting")) {
      this.trial = { ...this.trial, state: "stopped", progress: undefined };
    }
    work?.abort(new DOMException("the trial was stopped", "AbortError"));
    this.#changed();
  }

  /** Keeps the text under a name. Returns why that was refused, or undefined. */
  keep(name: string): string | undefined {
    const { own: trial, kernel, text: text, access } = this;
    const { unkeepable } = this;
    if (unkeepable !== undefined || kernel === undefined || !trial?.cases || access.kind !== "open") {
      return unkeepable ?? "There is nothing to keep.";
    }
    const { adapter } = access.device;
    const failed = trial.cases.filter(({ passed }) => !passed).length +
      (trial.times ?? []).filter(({ apart }) => !apart.within).length;
    const refusal = this.#keptKernels.keep({
      name,
      kernel,
      text,
      base: fingerprint(this.shipped),
      kept: new Date().toISOString(),
      check: {
        passed: failed === 0,
        cases: trial.cases.length + (trial.times?.length ?? 0),
        failed,
        out: Math.max(...trial.cases.map(({ out }) => out.max)),
        lse: Math.max(...trial.cases.map(({ lse }) => lse.max)),
        adapter: adapter.name,
        software: adapter.software,
        ratios: (trial.times ?? []).map(({ ratio }) => ratio.median),
      },
    });
    if (refusal !== undefined) return refusal;
    this.#edited.delete(this.key);
    this.#open(kernel, name.trim());
    this.#write();
    this.notice = `Kept as “${name.trim()}”.${
      this.#keptKernels.chosen(kernel)?.name === name.trim() ? " Runs use it." : " To use it in runs, tick it below."
    }`;
    this.#changed();
    return undefined;
  }

  /** Renames a kept kernel, whether it is open or not. Returns why it was refused, or undefined. */
  rename(kernel: string, from: string, to: string): string | undefined {
    const open = this.kernel === kernel && this.#kept === from;
    const text = this.#edited.get(`${kernel}/${from}`);
    if (open) this.#kept = to.trim();
    const refusal = this.#keptKernels.rename(kernel, from, to);
    if (refusal !== undefined) {
      if (open) this.#kept = from;
      return refusal;
    }
    this.#edited.delete(`${kernel}/${from}`);
    if (text !== undefined) this.#edited.set(`${kernel}/${to.trim()}`, text);
    if (open) this.#write();
    this.#changed();
    return undefined;
  }

  #open(kernel: string, kept: string | undefined, text?: string): void {
    if (kernel !== this.#kernel || kept !== this.#kept) {
      this.stop();
      this.notice = "";
    }
    this.#kernel = kernel;
    this.#absent = kept !== undefined && this.#keptKernels.find(kernel, kept) === undefined ? kept : undefined;
    this.#kept = this.#absent === undefined ? kept : undefined;
    if (text !== undefined && text !== this.base) this.#edited.set(this.key, text);
  }

  #write(): void {
    const query = new URLSearchParams(location.search);
    query.set(KERNEL, this.kernel!);
    if (this.#kept === undefined) query.delete(TEXT);
    else query.set(TEXT, this.#kept);
    history.replaceState(null, "", `?${query.toString().replaceAll("%2C", ",")}${location.hash}`);
    this.#search = location.search;
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}
