/**
 * The visitor's own kernels: WGSL texts kept by name in this browser, and which of them every run of the page uses in
 * place of the shipped ones.
 */
import type { ClusterOptions } from "../engine/run.ts";

/** How a text did when it was kept. */
export interface KeptCheck {
  readonly passed: boolean;
  /** Cases of the grid, and how many of them failed. */
  readonly cases: number;
  readonly failed: number;
  /** Largest errors of O and LSE. */
  readonly out: number;
  readonly lse: number;
  /** What it was checked and timed on. */
  readonly adapter: string;
  readonly software: boolean;
  /** Its time over the shipped kernel's, the median of each experiment that was timed. */
  readonly ratios: readonly number[];
}

/** A kept text. */
export interface KernelVariant {
  readonly name: string;
  /** The shipped kernel whose place it takes. */
  readonly kernel: string;
  readonly text: string;
  /** Fingerprint of the shipped text that it was made from. */
  readonly base: string;
  readonly check: KeptCheck;
  /** When it was kept, ISO 8601. */
  readonly kept: string;
}

/** Most variants, characters of a text, and of a name, that this page keeps. */
export const MOST = { variants: 24, text: 65_536, name: 40 };

const KEY = "ringside.kernels";

interface Stored {
  readonly version: 1;
  readonly variants: readonly KernelVariant[];
  /** Names by kernel. */
  readonly chosen: Readonly<Record<string, string>>;
}

const nothing: Stored = { version: 1, variants: [], chosen: {} };

/** Fires "change" on each. One of them for the page: `variants`. */
export class Variants extends EventTarget {
  #stored: Stored = nothing;
  /** What went wrong with this browser's storage, if anything did: what is kept then lasts as long as the page. */
  problem: string | undefined;
  readonly #storage: Storage | undefined;

  constructor(storage: Storage | undefined) {
    super();
    this.#storage = storage;
    this.reload();
  }

  /** Reads what is stored, anew: another tab may have changed it. */
  reload(): void {
    let text: string | null = null;
    try {
      text = this.#storage?.getItem(KEY) ?? null;
    } catch {
      // Storage may be closed to the page.
    }
    const read = text === null ? nothing : readStored(text);
    this.problem = read === undefined
      ? "What this browser had stored of kept kernels cannot be read; it is left as it is until something is kept."
      : undefined;
    this.#stored = read ?? nothing;
    this.dispatchEvent(new Event("change"));
  }

  get all(): readonly KernelVariant[] {
    return this.#stored.variants;
  }

  find(kernel: string, name: string): KernelVariant | undefined {
    return this.#stored.variants.find((v) => v.kernel === kernel && v.name === name);
  }

  /** What runs use in place of a kernel; undefined: the shipped text. */
  chosen(kernel: string): KernelVariant | undefined {
    return Object.hasOwn(this.#stored.chosen, kernel) ? this.find(kernel, this.#stored.chosen[kernel]) : undefined;
  }

  /** All that runs use in place of shipped kernels. */
  get inUse(): readonly KernelVariant[] {
    return this.#stored.variants.filter((v) => this.#stored.chosen[v.kernel] === v.name);
  }

  /** For `Cluster.start`. */
  get shaders(): NonNullable<ClusterOptions["shaders"]> {
    return Object.fromEntries(this.inUse.map((v) => [v.kernel, { name: sayVariant(v), text: v.text }]));
  }

  /** Changes when what runs use changes: ranks that were started with another one have other kernels. */
  get stamp(): string {
    return this.inUse.map((v) => `${v.kernel}/${v.name}/${fingerprint(v.text)}`).join();
  }

  /**
   * Why a name cannot be given to a variant of a kernel; undefined: it can. `own`: the name of the variant that is
   * renamed.
   */
  refusal(kernel: string, name: string, own?: string): string | undefined {
    const bare = name.trim();
    if (bare === "") return "Name: found nothing, expected one, such as “wider tiles”.";
    if (bare.length > MOST.name) return `Name: found ${bare.length} characters, expected at most ${MOST.name}.`;
    // deno-lint-ignore no-control-regex -- control characters are what is refused
    if (/[\u0000-\u001f\u007f]/.test(bare)) return "Name: found a control character, expected none.";
    if (own !== undefined && bare !== own && this.find(kernel, bare) !== undefined) {
      return `Name: found “${bare}”, which another variant of ${kernel} has; expected a new one.`;
    }
    return undefined;
  }

  /** Keeps a text; one of that kernel and name is replaced. Returns why it was refused, or undefined. */
  keep(variant: KernelVariant): string | undefined {
    const kept = { ...variant, name: variant.name.trim() };
    const refusal = this.refusal(kept.kernel, kept.name);
    if (refusal !== undefined) return refusal;
    if (kept.text.length > MOST.text) {
      return `The text has ${kept.text.length} characters; this page keeps at most ${MOST.text} each.`;
    }
    const others = this.all.filter((v) => v.kernel !== kept.kernel || v.name !== kept.name);
    if (others.length >= MOST.variants) {
      return `${others.length} variants are kept, and the page keeps at most ${MOST.variants}: delete one first.`;
    }
    this.#store({ ...this.#stored, variants: [...others, kept] });
    return undefined;
  }

  /** Gives a variant another name; the choice goes with it. Returns why it was refused, or undefined. */
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

  /** Forgets a variant; runs that used it use the shipped kernel again. */
  delete(kernel: string, name: string): void {
    this.#store({
      ...this.#stored,
      chosen: without(this.#stored.chosen, kernel, name),
      variants: this.all.filter((v) => v.kernel !== kernel || v.name !== name),
    });
  }

  /** Makes every later run use a variant, or the shipped text. */
  choose(kernel: string, name: string | undefined): void {
    if (name !== undefined && this.find(kernel, name) === undefined) return;
    const rest = without(this.#stored.chosen, kernel);
    this.#store({ ...this.#stored, chosen: name === undefined ? rest : { ...rest, [kernel]: name } });
  }

  /** Makes every later run use the shipped kernels; what is kept stays. */
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
      this.problem = `This browser’s storage takes nothing (${
        error instanceof Error ? error.message : String(error)
      }): what is kept lasts as long as this page.`;
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** What reports call a variant; one that fails its check is never named without saying so. */
export function sayVariant({ name, check }: KernelVariant): string {
  return `your variant ${name}${check.passed ? "" : ", which fails the check"}`;
}

/** A short fingerprint of a text (FNV-1a, 32 bits): says whether two are the same, not who made them. */
export function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function without(chosen: Stored["chosen"], kernel: string, name = chosen[kernel]): Stored["chosen"] {
  return Object.fromEntries(Object.entries(chosen).filter(([k, n]) => k !== kernel || n !== name));
}

/**
 * What was stored, as far as it is what this page stores; undefined where it is something else. Anyone can write there.
 */
function readStored(text: string): Stored | undefined {
  try {
    const { version, variants, chosen } = JSON.parse(text) as Partial<Stored>;
    if (version !== 1 || !Array.isArray(variants) || typeof chosen !== "object" || chosen === null) return undefined;
    // JSON has no infinity: an error that is none comes back as null.
    const known = variants.filter(isVariant).slice(0, MOST.variants).map((v) => ({
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

function isVariant(value: unknown): value is KernelVariant {
  const v = value as Partial<KernelVariant> | null;
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
    return undefined; // A browser may close it to the page by throwing.
  }
}

/** The page's own. In a worker it is empty: workers start no ranks. */
export const variants = new Variants(typeof document === "undefined" ? undefined : storageOfPage());

if (typeof document !== "undefined") {
  addEventListener("storage", ({ key }) => (key === KEY || key === null) && variants.reload());
}
