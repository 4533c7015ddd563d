/**
 * The visitor's own kernels: WGSL texts that this browser keeps by name, and which of them replace shipped kernels in
 * every run of the page.
 */
import type { ClusterOptions } from "../engine/run.ts";

/** How a text did in its check before it was kept. */
export interface KeptCheck {
  readonly passed: boolean;
  /** Cases of the grid, and how many of them failed. */
  readonly cases: number;
  readonly failed: number;
  /** Largest errors of O and LSE. */
  readonly out: number;
  readonly lse: number;
  /** The adapter that checked and timed it. */
  readonly adapter: string;
  readonly software: boolean;
  /** Its time divided by the shipped kernel's: the median of each timed experiment. */
  readonly ratios: readonly number[];
}

/** A kept text. */
export interface KeptKernel {
  readonly name: string;
  /** The shipped kernel that it can replace. */
  readonly kernel: string;
  readonly text: string;
  /** Fingerprint of the shipped text that it started from. */
  readonly base: string;
  readonly check: KeptCheck;
  /** When it was kept, ISO 8601. */
  readonly kept: string;
}

/** The most kernels that this page keeps, and the most characters of a text and of a name. */
export const MOST = { kernels: 24, text: 65_536, name: 40 };

const KEY = "ringside.kernels";

/** The format in the browser's storage. */
interface Stored {
  readonly version: 1;
  readonly variants: readonly KeptKernel[];
  /** Names of the kept kernels that runs use, by the shipped kernel that each replaces. */
  readonly chosen: Readonly<Record<string, string>>;
}

const nothing: Stored = { version: 1, variants: [], chosen: {} };

/** Fires "change" on each change. The page has one: `keptKernels`. */
export class KeptKernels extends EventTarget {
  #stored: Stored = nothing;
  /** What went wrong with this browser's storage, if anything. Kept kernels then last as long as the page. */
  problem: string | undefined;
  readonly #storage: Storage | undefined;

  constructor(storage: Storage | undefined) {
    super();
    this.#storage = storage;
    this.reload();
  }

  /** Reads the storage again: another tab may have changed it. */
  reload(): void {
    let text: string | null = null;
    try {
      text = this.#storage?.getItem(KEY) ?? null;
    } catch {
      // The page may not be allowed to use the storage.
    }
    const read = text === null ? nothing : readStored(text);
    this.problem = read === undefined
      ? "The kept kernels in this browser’s storage cannot be read. They stay there until you keep another one."
      : undefined;
    this.#stored = read ?? nothing;
    this.dispatchEvent(new Event("change"));
  }

  get all(): readonly KeptKernel[] {
    return this.#stored.variants;
  }

  find(kernel: string, name: string): KeptKernel | undefined {
    return this.#stored.variants.find((v) => v.kernel === kernel && v.name === name);
  }

  /** The kept kernel that runs use in place of a shipped one, or undefined for the shipped text. */
  chosen(kernel: string): KeptKernel | undefined {
    return Object.hasOwn(this.#stored.chosen, kernel) ? this.find(kernel, this.#stored.chosen[kernel]) : undefined;
  }

  /** All kept kernels that runs use. */
  get inUse(): readonly KeptKernel[] {
    return this.#stored.variants.filter((v) => this.#stored.chosen[v.kernel] === v.name);
  }

  /** The texts that `Cluster.start` takes as `shaders`. */
  get shaders(): NonNullable<ClusterOptions["shaders"]> {
    return Object.fromEntries(this.inUse.map((v) => [v.kernel, { name: sayKeptKernel(v), text: v.text }]));
  }

  /** Changes whenever the choice of kernels changes. Ranks started with another stamp have other kernels. */
  get stamp(): string {
    return this.inUse.map((v) => `${v.kernel}/${v.name}/${fingerprint(v.text)}`).join();
  }

  /** Why a kept kernel can't have this name, or undefined if it can. `own`: its name so far. */
  refusal(kernel: string, name: string, own?: string): string | undefined {
    const bare = name.trim();
    if (bare === "") return "Name: found nothing, expected one, such as “wider tiles”.";
    if (bare.length > MOST.name) return `Name: found ${bare.length} characters, expected at most ${MOST.name}.`;
    // deno-lint-ignore no-control-regex -- a name must have no control characters
    if (/[\u0000-\u001f\u007f]/.test(bare)) return "Name: found a control character, expected none.";
    if (own !== undefined && bare !== own && this.find(kernel, bare) !== undefined) {
      return `Name: found “${bare}”, which another kept ${kernel} has; expected a new one.`;
    }
    return undefined;
  }

  /** Keeps a text; it replaces one of the same kernel and name. Returns why it was refused, or undefined. */
  keep(given: KeptKernel): string | undefined {
    const kept = { ...given, name: given.name.trim() };
    const refusal = this.refusal(kept.kernel, kept.name);
    if (refusal !== undefined) return refusal;
    if (kept.text.length > MOST.text) {
      return `Text: found ${kept.text.length} characters, expected at most ${MOST.text}.`;
    }
    const others = this.all.filter((v) => v.kernel !== kept.kernel || v.name !== kept.name);
    if (others.length >= MOST.kernels) {
      return `Kept kernels: found ${others.length}, expected fewer than ${MOST.kernels}; delete one first.`;
    }
    this.#store({ ...this.#stored, variants: [...others, kept] });
    return undefined;
  }

  /** Renames a kept kernel; runs that use it go on using it. Returns why it was refused, or undefined. */
  rename(kernel: string, from: string, to: string): string | undefined {
    const name = to.trim();
    const refusal = this.refusal(kernel, name, from);
    if (refusal !== undefined) return refusal;
    const chosen = this.#stored.chosen[kernel] === from
      ? { ...this.#stored.chosen, [kernel]: name }
      : this.#stored.chosen;
    this.#store({
      ...this.#stored,
      chosen,
      variants: this.all.map((v) => (v.kernel === kernel && v.name === from ? { ...v, name } : v)),
    });
    return undefined;
  }

  /** Forgets a kept kernel; runs that used it use the shipped one again. */
  delete(kernel: string, name: string): void {
    this.#store({
      ...this.#stored,
      chosen: without(this.#stored.chosen, kernel, name),
      variants: this.all.filter((v) => v.kernel !== kernel || v.name !== name),
    });
  }

  /** Makes every later run use a kept kernel, or the shipped text. */
  choose(kernel: string, name: string | undefined): void {
    if (name !== undefined && this.find(kernel, name) === undefined) return;
    const rest = without(this.#stored.chosen, kernel);
    this.#store({ ...this.#stored, chosen: name === undefined ? rest : { ...rest, [kernel]: name } });
  }

  /** Makes every later run use the shipped kernels; the kept ones stay. */
  chooseShipped(): void {
    this.#store({ ...this.#stored, chosen: {} });
  }

  #store(stored: Stored): void {
    this.#stored = stored;
    this.problem = undefined;
    try {
      if (this.#storage === undefined) throw new Error("closed to this page");
      this.#storage.setItem(KEY, JSON.stringify(stored));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.problem = `This browser’s storage is not available (${why}). Kept kernels last as long as this page.`;
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** The name of a kept kernel in reports. If it failed its check, the name always says so. */
export function sayKeptKernel({ name, check }: KeptKernel): string {
  return `your kernel ${name}${check.passed ? "" : ", which fails the check"}`;
}

/** A short fingerprint of a text (FNV-1a, 32 bits): tells whether two texts are the same, not who wrote them. */
export function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function without(chosen: Stored["chosen"], kernel: string, name = chosen[kernel]): Stored["chosen"] {
  return Object.fromEntries(Object.entries(chosen).filter(([k, n]) => k !== kernel || n !== name));
}

/** The valid entries of a stored text, or undefined if it has another format. Anyone can write to that storage. */
function readStored(text: string): Stored | undefined {
  try {
    const { version, variants, chosen } = JSON.parse(text) as Partial<Stored>;
    if (version !== 1 || !Array.isArray(variants) || typeof chosen !== "object" || chosen === null) return undefined;
    // JSON has no infinity: an infinite error comes back as null.
    const known = variants.filter(isKeptKernel).slice(0, MOST.kernels).map((v) => ({
      ...v,
      check: { ...v.check, out: v.check.out ?? Infinity, lse: v.check.lse ?? Infinity },
    }));
    return {
      version,
      variants: known,
      chosen: Object.fromEntries(
        Object.entries(chosen).filter(([kernel, name]) => known.some((v) => v.kernel === kernel && v.name === name)),
      ),
    };
  } catch {
    return undefined;
  }
}

function isKeptKernel(value: unknown): value is KeptKernel {
  const v = value as Partial<KeptKernel> | null;
  const c = v?.check as Partial<KeptCheck> | undefined;
  const texts = [v?.name, v?.kernel, v?.text, v?.base, v?.kept, c?.adapter];
  const numbers = [c?.cases, c?.failed, c?.out ?? Infinity, c?.lse ?? Infinity];
  return texts.every((x) => typeof x === "string") && numbers.every((x) => typeof x === "number") &&
    typeof c?.passed === "boolean" && typeof c.software === "boolean" &&
    Array.isArray(c.ratios) && c.ratios.every((x) => typeof x === "number") && v!.name!.length <= MOST.name &&
    v!.name!.trim() !== "" && v!.text!.length <= MOST.text;
}

function storageOfPage(): Storage | undefined {
  try {
    return typeof localStorage === "undefined" ? undefined : localStorage;
  } catch {
    return undefined; // Some browsers throw if a page may not use the storage.
  }
}

/** The page's kept kernels; empty in a worker, because workers start no ranks. */
export const keptKernels = new KeptKernels(typeof document === "undefined" ? undefined : storageOfPage());

if (typeof document !== "undefined") {
  addEventListener("storage", ({ key }) => (key === KEY || key === null) && keptKernels.reload());
}
