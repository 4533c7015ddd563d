/** The experiment of Lab and Step: its fields as typed, how they are read, and its form in the page's address. */
import {
  type Backend,
  CAUSAL,
  type Dealing,
  type DType,
  isLocal,
  type Link,
  type Mask,
  pairsOfRuns,
  readMask,
  sayMask,
  sinkTokensOf,
  type Variant,
} from "../../engine/run.ts";
import { formatCount, formatRate, formatSeconds } from "../format/format.ts";
import { parseCount, parseRate, parseSeconds } from "../format/quantity.ts";

/** An experiment that can run. The letters are the paper's. */
export interface Experiment {
  /** Seed of the inputs. */
  readonly seed: number;
  /** New tokens. */
  readonly T: number;
  /** Cached tokens. */
  readonly P: number;
  /** Query heads. */
  readonly H: number;
  /** KV heads. */
  readonly Hkv: number;
  /** Head dimension. */
  readonly D: number;
  /** Head dimension of V and O; undefined if it is D. Only files have another, so no address holds it. */
  readonly Dv?: number;
  /** Context-parallel ranks. */
  readonly N: number;
  readonly variant: Variant;
  readonly wire: DType;
  /** Null: as fast as messages between workers travel. */
  readonly link: Link | null;
  readonly mask: Mask;
  readonly dealing: Dealing;
  readonly backend: Backend;
  /**
   * True to multiply the seeded inputs by OFF_GRID. Seeded values are exact in 16 bits, the products are not: a 16-bit
   * wire then has something to round.
   */
  readonly offGrid?: true;
}

/** The factor that makes seeded inputs inexact in 16 bits. */
export const OFF_GRID = 1.1;

/** A field of the form. The link has two, and a window or chunk three. */
export type Field =
  | "N"
  | "T"
  | "P"
  | "H"
  | "Hkv"
  | "D"
  | "variant"
  | "mask"
  | "size"
  | "sinkTokens"
  | "dealing"
  | "wire"
  | "bandwidth"
  | "latency"
  | "seed"
  | "grid"
  | "backend";

/** The text of each field, as typed. */
export type Draft = Readonly<Record<Field, string>>;

/** What a draft reads as: an experiment, or the problems by field. */
export interface Reading {
  readonly experiment?: Experiment;
  readonly problems: ReadonlyMap<Field, string>;
}

/** Names of fields in messages. */
export const names: Readonly<Record<Field, string>> = {
  N: "Ranks N",
  T: "New tokens T",
  P: "Cached tokens P",
  H: "Query heads H",
  Hkv: "KV heads Hkv",
  D: "Head dimension D",
  variant: "Variant",
  mask: "Mask",
  size: "Size of window or chunk",
  sinkTokens: "Sink tokens",
  dealing: "Dealing",
  wire: "Wire type",
  bandwidth: "Link bandwidth",
  latency: "Link latency",
  seed: "Seed",
  grid: "Seeded values",
  backend: "Back-end",
};

const fields = Object.keys(names) as Field[];

/** Values of the fields with a list, and their visible text. */
export const choices = {
  variant: { "pass-q": "pass-Q", "pass-kv": "pass-KV" },
  mask: { causal: "causal", full: "full", window: "window of", chunk: "chunks of" },
  dealing: { "head-tail": "head-tail", contiguous: "contiguous" },
  wire: { f32: "f32", f16: "f16", bf16: "bf16" },
  grid: { on: "as they are", off: `times ${OFF_GRID}` },
  backend: { webgpu: "WebGPU", cpu: "plain TypeScript" },
} as const satisfies Partial<Record<Field, Record<string, string>>>;

/** The back-ends as the sentence names them. Without WebGPU, the sentence says what computes instead. */
export function backendChoices(webgpu: boolean | undefined): Readonly<Record<Backend, string>> {
  return webgpu === false ? { ...choices.backend, webgpu: "plain TypeScript (no WebGPU here)" } : choices.backend;
}

/** The experiment with which the page opens: the design's own sentence. */
export const defaults: Experiment = {
  seed: 1,
  T: 512,
  P: 1536,
  H: 8,
  Hkv: 2,
  D: 64,
  N: 4,
  variant: "pass-q",
  wire: "bf16",
  link: { bandwidth: 50e9, latency: 0 },
  mask: CAUSAL,
  dealing: "head-tail",
  backend: "webgpu",
};

/** W or C in a sentence whose mask is neither window nor chunk, for when it becomes one. */
const SIZE = 256;

/** The most ranks that the page starts. Each is a worker with its own device. */
export const MAX_RANKS = 32;
/** The most numbers in one tensor of the page (1 GiB of f32). */
export const MAX_ELEMENTS = 2 ** 28;

/** The fields of an experiment, as the page writes them. */
export function draftOf(experiment: Experiment): Draft {
  const { link, mask } = experiment;
  return {
    N: formatCount(experiment.N),
    T: formatCount(experiment.T),
    P: formatCount(experiment.P),
    H: formatCount(experiment.H),
    Hkv: formatCount(experiment.Hkv),
    D: formatCount(experiment.D),
    variant: experiment.variant,
    mask: mask.kind,
    size: formatCount(isLocal(mask) ? mask.size : SIZE),
    sinkTokens: formatCount(sinkTokensOf(mask)),
    dealing: experiment.dealing,
    wire: experiment.wire,
    bandwidth: link === null ? "off" : formatRate(link.bandwidth),
    latency: formatSeconds(link?.latency ?? 0),
    seed: String(experiment.seed),
    grid: experiment.offGrid ? "off" : "on",
    backend: experiment.backend,
  };
}

/** Reads a draft. Each problem names its field, what was found and what is expected. */
export function read(draft: Draft): Reading {
  const problems = new Map<Field, string>();
  const wrong = (field: Field, expected: string) => {
    if (!problems.has(field)) {
      problems.set(
        field,
        `${names[field]}: found ${draft[field].trim() === "" ? "nothing" : draft[field]}, expected ${expected}.`,
      );
    }
  };
  const whole = (field: Field, least: number, most: number, what = "a whole number") => {
    const value = parseCount(draft[field]);
    if (!(value >= least && value <= most)) wrong(field, `${what} from ${formatCount(least)} to ${formatCount(most)}`);
    return value;
  };
  const one = <K extends keyof typeof choices>(field: K): keyof (typeof choices)[K] => {
    if (!Object.hasOwn(choices[field], draft[field])) wrong(field, Object.keys(choices[field]).join(" or "));
    return draft[field] as unknown as keyof (typeof choices)[K];
  };
  const N = whole("N", 1, MAX_RANKS);
  const T = whole("T", 1, MAX_ELEMENTS);
  const P = whole("P", 0, MAX_ELEMENTS);
  const H = whole("H", 1, 1024);
  const Hkv = whole("Hkv", 1, 1024);
  const D = whole("D", 16, 576, "a multiple of 4");
  if (!problems.has("D") && D % 4 !== 0) wrong("D", `a multiple of 4, such as ${4 * Math.round(D / 4)}`);
  if (!problems.has("H") && !problems.has("Hkv") && H % Hkv !== 0) {
    wrong("H", `a multiple of the ${formatCount(Hkv)} KV heads`);
  }
  if (problems.size === 0) {
    const most = Math.floor(MAX_ELEMENTS / (H * D));
    const mostKeys = Math.floor(MAX_ELEMENTS / (Hkv * D));
    const why = "(a tensor of this page has at most 268,435,456 numbers, 1 GiB)";
    if (T > most) wrong("T", `at most ${formatCount(most)} tokens of ${H} × ${D} ${why}`);
    else if (T + P > mostKeys) {
      wrong(P > 0 ? "P" : "T", `at most ${formatCount(mostKeys - (P > 0 ? T : 0))} tokens of ${Hkv} × ${D} ${why}`);
    }
  }
  const off = /^\s*(off|none)\s*$/i.test(draft.bandwidth);
  const bandwidth = off ? Infinity : parseRate(draft.bandwidth);
  if (!off && !(bandwidth > 0 && bandwidth < Infinity)) wrong("bandwidth", "a rate such as 50 GB/s, or off");
  const latency = off ? 0 : parseSeconds(draft.latency);
  if (!(latency >= 0 && latency <= 10)) wrong("latency", "a time such as 5 µs, at most 10 s");
  const seed = whole("seed", 0, 2 ** 32 - 1);
  const variant = one("variant");
  const wire = one("wire");
  const mask = maskOf(draft, wrong, whole);
  const dealing = one("dealing");
  const offGrid = one("grid") === "off";
  const backend = one("backend");
  if (problems.size > 0) {
    return {
      problems: new Map(fields.flatMap((field) => (problems.has(field) ? [[field, problems.get(field)!]] : []))),
    };
  }
  return {
    problems,
    experiment: {
      seed,
      T,
      P,
      H,
      Hkv,
      D,
      N,
      variant,
      wire,
      link: off ? null : { bandwidth, latency },
      mask: mask!,
      dealing,
      backend,
      ...(offGrid ? { offGrid } : {}),
    },
  };
}

/** The mask of a draft; undefined if a part of it is wrong. */
function maskOf(
  { mask: kind }: Draft,
  wrong: (field: Field, expected: string) => void,
  whole: (field: Field, least: number, most: number) => number,
): Mask | undefined {
  if (kind === "causal" || kind === "full") return { kind };
  if (kind !== "window" && kind !== "chunk") {
    wrong("mask", `causal, full, window:${SIZE} or chunk:${SIZE}`);
    return undefined;
  }
  const size = whole("size", 1, MAX_ELEMENTS);
  const sinkTokens = whole("sinkTokens", 0, MAX_ELEMENTS);
  return sinkTokens > 0 ? { kind, size, sinkTokens } : { kind, size };
}

const plain = ["seed", "T", "P", "H", "Hkv", "D", "N", "variant", "wire", "mask", "backend"] as const;

/** The query of the page's address for an experiment: `seed=1&T=512&…&mask=window:256&…&link=50000000000,0`. */
export function toQuery(experiment: Experiment): string {
  const { link, dealing, offGrid } = experiment;
  const query = new URLSearchParams();
  for (const key of plain) query.set(key, key === "mask" ? sayMask(experiment.mask) : String(experiment[key]));
  query.set("link", link === null ? "off" : `${link.bandwidth},${link.latency}`);
  if (dealing !== defaults.dealing) query.set("dealing", dealing);
  if (offGrid) query.set("grid", "off");
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** The draft of an address. Missing fields have their defaults; wrong values stay in their fields for correction. */
export function fromQuery(query: string): Draft {
  const given = new URLSearchParams(query);
  const draft: Record<Field, string> = { ...draftOf(defaults) };
  for (const key of plain) {
    const value = given.get(key);
    if (value !== null) draft[key] = tidy(key, value);
  }
  Object.assign(draft, maskIn(given));
  draft.dealing = given.get("dealing") ?? defaults.dealing;
  draft.grid = given.get("grid") ?? "on";
  const link = given.get("link");
  if (link !== null) {
    const [bandwidth, latency = "0"] = link.split(",");
    draft.bandwidth = tidy("bandwidth", bandwidth);
    draft.latency = tidy("latency", latency);
  }
  return draft;
}

/** The mask of an address. Older ones say `causal=1` or `causal=0`. */
function maskIn(given: URLSearchParams): Partial<Draft> {
  // An address decodes + as a space.
  const said = given.get("mask")?.trim().replace(" ", "+");
  // In older addresses, the Remote view's mask has this key, as 1 or 0.
  if (said === undefined || said === "1" || said === "0") {
    const causal = given.get("causal");
    return { mask: causal === null || causal === "1" ? defaults.mask.kind : causal === "0" ? "full" : causal };
  }
  const mask = readMask(said);
  // A kind alone would be taken with its size of before.
  if (mask === undefined) return { mask: said === "window" || said === "chunk" ? `${said}:` : said };
  const { mask: kind, size, sinkTokens } = draftOf({ ...defaults, mask });
  return { mask: kind, size, sinkTokens };
}

/** A field's text as the page writes it, or unchanged if it can't be read. */
export function tidy(field: Field, text: string): string {
  const bare = text.trim();
  if (field === "bandwidth") {
    const rate = parseRate(bare);
    return rate > 0 ? formatRate(rate) : bare.toLowerCase() === "none" ? "off" : bare;
  }
  if (field === "latency") return Number.isFinite(parseSeconds(bare)) ? formatSeconds(parseSeconds(bare)) : bare;
  if (field === "seed" || field in choices) return bare;
  const count = parseCount(bare);
  return Number.isFinite(count) ? formatCount(count) : bare;
}

/** A draft with every field as the page writes it. */
export function tidied(draft: Draft): Draft {
  return Object.fromEntries(fields.map((field) => [field, tidy(field, draft[field])])) as Record<Field, string>;
}

/** The size of an experiment, by arithmetic alone. */
export interface Size {
  /** Visible query-key pairs. */
  readonly pairs: number;
  /** 2 (D + Dv) for each pair and query head. */
  readonly flops: number;
  /** T / (T + P). */
  readonly missRate: number;
}

/** The size of an experiment's attention. */
export function sizeOf({ T, P, H, D, Dv = D, mask }: Experiment): Size {
  const pairs = pairsOfRuns({ start: P, length: T }, { start: 0, length: P + T }, mask);
  return { pairs, flops: 2 * (D + Dv) * H * pairs, missRate: T / (T + P) };
}

/** True if two experiments are the same. */
export function same(a: Experiment | undefined, b: Experiment | undefined): boolean {
  return a !== undefined && b !== undefined && toQuery(a) === toQuery(b);
}
