/**
 * The view's state in one place: which kernel and text are open, what was typed, how its trial goes, and the address
 * that leads back to it.
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
import { fingerprint, type KernelVariant, type Variants } from "../../lib/kept-kernels.ts";
import { Bench, type Device, type Phase } from "./ask.ts";

/** A trial of a text: under way, or how it ended. */
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

/** Milliseconds without an edit after which it is tried. */
const PAUSE = 800;

const KERNEL = "kernel", TEXT = "text";

/** Fires "change" on each. It outlives the view's element, so that what was typed is there when it is opened again. */
export class Store extends EventTarget {
  /** The shipped texts by name; undefined until they are read. */
  texts: Readonly<Record<string, string>> | undefined;
  /** Why they could not be read. */
  unread: string | undefined;
  access: Access = { kind: "unknown" };
  trial: Trial | undefined;
  /** What a person should know of what they did last. */
  notice = "";
  readonly #variants: Variants;
  #kernel: string | undefined;
  #variant: string | undefined;
  /** A variant that the address names and this browser has not. */
  #absent: string | undefined;
  #drafts = new Map<string, string>();
  #bench: Bench | undefined;
  #work: AbortController | undefined;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #search: string | undefined;

  constructor(variants: Variants) {
    super();
    this.#variants = variants;
    variants.addEventListener("change", () => {
      this.notice = "";
      // What was open may have been deleted, here or in another tab.
      if (
        this.#kernel !== undefined && this.#variant !== undefined &&
        variants.find(this.#kernel, this.#variant) === undefined
      ) this.#open(this.#kernel, undefined, this.draft);
      this.#changed();
    });
  }

  /** Takes the view's part of the address, reads the texts and opens a device, as far as that was not done. */
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
    // The view may have been left meanwhile.
    if (this.#bench !== bench) return;
    this.access = access;
    // Without an address that says otherwise: the kernel that runs here.
    if (this.#kernel === undefined) {
      this.#open(this.access.kind === "open" ? this.access.device.tileKernel : tileKernelOfAll, undefined);
    }
    this.#changed();
  }

  /** Ends what is under way and gives the device back. */
  leave(): void {
    this.stop();
    this.#bench?.close();
    this.#bench = undefined;
    this.access = { kind: "unknown" };
  }

  /** Takes over what the address says now. */
  sync(): void {
    if (location.search === this.#search) return;
    this.#search = location.search;
    const query = new URLSearchParams(location.search);
    const kernel = query.get(KERNEL);
    if (kernel !== null) this.#open(kernel, query.get(TEXT) ?? undefined);
  }

  /** The kernel whose text is open; undefined until it is known. */
  get kernel(): string | undefined {
    return this.#kernel !== undefined && this.texts !== undefined && !Object.hasOwn(this.texts, this.#kernel)
      ? Object.keys(this.texts)[0]
      : this.#kernel;
  }

  /** The kept text that is open; undefined: the shipped one. */
  get variant(): KernelVariant | undefined {
    return this.kernel === undefined || this.#variant === undefined
      ? undefined
      : this.#variants.find(this.kernel, this.#variant);
  }

  /** What the address names and is not here. */
  get missing(): string | undefined {
    const kernel = this.#kernel;
    if (kernel !== undefined && this.texts !== undefined && !Object.hasOwn(this.texts, kernel)) {
      return `This page has no kernel “${kernel}”: shown is ${this.kernel}.`;
    }
    return this.#absent === undefined
      ? undefined
      : `No variant “${this.#absent}” of ${kernel} is kept in this browser: shown is the shipped text.`;
  }

  /** The text as it was opened. */
  get base(): string {
    return this.variant?.text ?? this.shipped;
  }

  get shipped(): string {
    return this.kernel === undefined ? "" : (this.texts?.[this.kernel] ?? "");
  }

  /** The text as it is now. */
  get draft(): string {
    return this.#drafts.get(this.key) ?? this.base;
  }

  /** Says which document the editor has: another one is another history. */
  get key(): string {
    return `${this.kernel}/${this.#variant ?? ""}`;
  }

  get edited(): boolean {
    return this.draft !== this.base;
  }

  get running(): boolean {
    return this.#work !== undefined;
  }

  /** The trial of the text as it is now, if it was tried. */
  get own(): Trial | undefined {
    return this.trial?.kernel === this.kernel && this.trial?.text === this.draft ? this.trial : undefined;
  }

  /** Whether runs of the page use this kernel at all. */
  get runs(): boolean {
    return this.kernel !== undefined && isRun(this.kernel);
  }

  /** Why this text cannot be kept; undefined: it can. */
  get unkeepable(): string | undefined {
    const trial = this.own;
    if (!this.runs) return "No run of this page uses this kernel: it is one of “ringside bench”. Export it instead.";
    if (this.draft === this.shipped) return "This is the shipped text: there is nothing to keep.";
    if (trial?.messages?.some(({ kind }) => kind === "error")) return "A text that does not compile is not kept.";
    if (trial?.state !== "done" || !trial.cases) return "A text is kept once it has been checked and timed.";
    return undefined;
  }

  /** Opens a kernel's shipped text, or a kept one. */
  open(kernel: string, variant?: string): void {
    this.#open(kernel, variant);
    this.#write();
    this.#changed();
  }

  /** Takes what was typed; it is tried after a pause. */
  edit(text: string): void {
    if (text === this.draft) return;
    this.stop();
    this.notice = "";
    if (text === this.base) this.#drafts.delete(this.key);
    else this.#drafts.set(this.key, text);
    if (this.access.kind !== "none" && text !== this.shipped) {
      this.trial = { kernel: this.kernel!, text, state: "waiting" };
      this.#pause = setTimeout(() => void this.run(), PAUSE);
    }
    this.#changed();
  }

  /** Goes back to the text as it was opened. */
  revert(): void {
    this.stop();
    this.#drafts.delete(this.key);
    this.notice = `Back to ${
      this.variant === undefined ? "the shipped text" : `“${this.variant.name}” as it was kept`
    }.`;
    this.#changed();
  }

  /** Compiles, checks and times the text; resolves when that is done, failed or stopped. */
  async run(): Promise<void> {
    this.stop();
    const { kernel, draft: text } = this;
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

  /** Stops the trial that is waited for or under way. */
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
    const { own: trial, kernel, draft: text, access } = this;
    const { unkeepable } = this;
    if (unkeepable !== undefined || kernel === undefined || !trial?.cases || access.kind !== "open") {
      return unkeepable ?? "There is nothing to keep.";
    }
    const { adapter } = access.device;
    const failed = trial.cases.filter(({ passed }) => !passed).length +
      (trial.times ?? []).filter(({ apart }) => !apart.within).length;
    const refusal = this.#variants.keep({
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
    this.#drafts.delete(this.key);
    this.#open(kernel, name.trim());
    this.#write();
    this.notice = `Kept as “${name.trim()}”.${
      this.#variants.chosen(kernel)?.name === name.trim() ? " Runs use it." : " Runs use it when you say so, below."
    }`;
    this.#changed();
    return undefined;
  }

  /** Gives the variant that is open another name where it is that one. Returns why that was refused, or undefined. */
  rename(kernel: string, from: string, to: string): string | undefined {
    const open = this.kernel === kernel && this.#variant === from;
    const draft = this.#drafts.get(`${kernel}/${from}`);
    if (open) this.#variant = to.trim();
    const refusal = this.#variants.rename(kernel, from, to);
    if (refusal !== undefined) {
      if (open) this.#variant = from;
      return refusal;
    }
    this.#drafts.delete(`${kernel}/${from}`);
    if (draft !== undefined) this.#drafts.set(`${kernel}/${to.trim()}`, draft);
    if (open) this.#write();
    this.#changed();
    return undefined;
  }

  #open(kernel: string, variant: string | undefined, draft?: string): void {
    if (kernel !== this.#kernel || variant !== this.#variant) {
      this.stop();
      this.notice = "";
    }
    this.#kernel = kernel;
    this.#absent = variant !== undefined && this.#variants.find(kernel, variant) === undefined ? variant : undefined;
    this.#variant = this.#absent === undefined ? variant : undefined;
    if (draft !== undefined && draft !== this.base) this.#drafts.set(this.key, draft);
  }

  #write(): void {
    const query = new URLSearchParams(location.search);
    query.set(KERNEL, this.kernel!);
    if (this.#variant === undefined) query.delete(TEXT);
    else query.set(TEXT, this.#variant);
    history.replaceState(null, "", `?${query.toString().replaceAll("%2C", ",")}${location.hash}`);
    this.#search = location.search;
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}
