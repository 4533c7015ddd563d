/** An experiment for a remote machine: its fields as typed, how they are read, presets, and its form in the address. */
import { type DType, isLocal, type Link, type Variant } from "../../engine/run.ts";
import { defaults as labDefaults, type Experiment } from "../../lib/experiment/experiment.ts";
import { formatCount, formatRate, formatSeconds } from "../../lib/format/format.ts";
import { parseCount, parseRate, parseSeconds } from "../../lib/format/quantity.ts";

/** One attention, or one GPU's share of a transformer layer around it. */
export type Work = "attend" | "layer";

/** The variants to run, one after the other. */
export type Ways = "both" | Variant;

/** An experiment that can be sent. The letters are the paper's. */
export interface RemoteExperiment {
  readonly work: Work;
  /** New tokens of the one sequence. */
  readonly T: number;
  /** Cached tokens. */
  readonly P: number;
  /** Heads of one GPU: 16 of 128 query heads and 1 of 8 KV heads in the paper's layout. A layer has its model's. */
  readonly H: number;
  readonly Hkv: number;
  readonly D: number;
  /** Context-parallel ranks. */
  readonly N: number;
  readonly ways: Ways;
  readonly dtype: DType;
  readonly causal: boolean;
  /** Null: as fast as the machine's ranks exchange. */
  readonly link: Link | null;
  readonly seed: number;
  /** Rows of O that the page recomputes; none for a layer. */
  readonly rows: number;
  /** A layer's model. */
  readonly model: LayerModel;
}

/** Models of a layer: the paper's, and one small enough for a CPU. */
export type LayerModel = "llama3-405b" | "small";

/** A field of the form. The link has two. */
export type Field =
  | "work"
  | "model"
  | "T"
  | "P"
  | "H"
  | "Hkv"
  | "D"
  | "N"
  | "ways"
  | "dtype"
  | "causal"
  | "bandwidth"
  | "latency"
  | "seed"
  | "rows";

/** The text of each field, as typed. */
export type Draft = Readonly<Record<Field, string>>;

/** What a draft reads as: an experiment, or the problems by field. */
export interface Reading {
  readonly experiment?: RemoteExperiment;
  readonly problems: ReadonlyMap<Field, string>;
}

/** Names of fields in messages. */
export const names: Readonly<Record<Field, string>> = {
  work: "What to run",
  model: "Model",
  T: "New tokens T",
  P: "Cached tokens P",
  H: "Query heads H",
  Hkv: "KV heads Hkv",
  D: "Head dimension D",
  N: "Ranks N",
  ways: "Variants",
  dtype: "Type",
  causal: "Mask",
  bandwidth: "Link bandwidth",
  latency: "Link latency",
  seed: "Seed",
  rows: "Rows to verify",
};

const fields = Object.keys(names) as Field[];

/** Values of the fields with a list, and their visible text. */
export const choices = {
  work: { attend: "Attention", layer: "One layer" },
  model: { "llama3-405b": "Llama 3 405B", small: "a small model" },
  ways: { both: "pass-KV and pass-Q", "pass-kv": "pass-KV", "pass-q": "pass-Q" },
  dtype: { bf16: "bf16", f16: "f16", f32: "f32" },
  causal: { "1": "causal", "0": "full" },
} as const satisfies Partial<Record<Field, Record<string, string>>>;

/** The planner's link for Grand Teton: the bandwidth of Table 5's transfers, and Table 8's latency. */
export const PAPER_LINK: Link = { bandwidth: 26.5e9, latency: 35e-6 };

/** The experiment with which the view opens: the design's big one, at the paper's 128K. */
export const defaults: RemoteExperiment = {
  work: "attend",
  T: 128_000,
  P: 0,
  H: 16,
  Hkv: 1,
  D: 128,
  N: 8,
  ways: "both",
  dtype: "bf16",
  causal: true,
  link: PAPER_LINK,
  seed: 1,
  rows: 64,
  model: "llama3-405b",
};

/** An experiment to start from. */
export interface Preset {
  readonly id: string;
  readonly title: string;
  readonly experiment: Partial<RemoteExperiment>;
  /** Its purpose. */
  readonly why: string;
}

const onCpu = {
  ways: "both",
  H: 4,
  Hkv: 1,
  D: 64,
  N: 4,
  dtype: "f32",
  link: { bandwidth: 100e6, latency: 0.001 },
  rows: 64,
} as const;
const onGpu = { ways: "both", P: 0, H: 16, Hkv: 1, D: 128, N: 8, dtype: "bf16", link: PAPER_LINK, rows: 64 } as const;

/** In order of size. The paper's K is 1,000. */
export const presets: readonly Preset[] = [
  { id: "1k", title: "1K", experiment: { ...onCpu, T: 1000, P: 0 }, why: "seconds on a CPU" },
  { id: "4k", title: "4K", experiment: { ...onCpu, T: 4000, P: 0 }, why: "a minute or less on a CPU" },
  {
    id: "128k",
    title: "128K",
    experiment: { ...onGpu, T: 128_000 },
    why: "the paper's context, one GPU's heads of Llama 3 405B under TP8",
  },
  { id: "256k", title: "256K", experiment: { ...onGpu, T: 256_000 }, why: "one GPU's heads of Llama 3 405B under TP8" },
  { id: "512k", title: "512K", experiment: { ...onGpu, T: 512_000 }, why: "one GPU's heads of Llama 3 405B under TP8" },
  {
    id: "1m",
    title: "1M",
    experiment: { ...onGpu, T: 1_000_000 },
    why: "the paper's headline, one GPU's heads of Llama 3 405B under TP8",
  },
  {
    id: "miss",
    title: "2.5 % miss",
    experiment: { ...onGpu, T: 3200, P: 124_800, N: 4 },
    why: "the row of Tables 4 and 5 where pass-Q wins",
  },
];

/** The sentence's experiment with a preset. Values outside the preset stay. */
export function withPreset(now: RemoteExperiment, { experiment }: Preset): RemoteExperiment {
  return {
    ...now,
    ...experiment,
    ...(now.work === "layer" ? { model: experiment.dtype === "f32" ? "small" as const : "llama3-405b" as const } : {}),
  };
}

/** The Lab's experiment as a remote one; undefined if only ranks of the page can run it. */
export function fromLab(
  { T, P, H, Hkv, D, N, variant, wire, link, mask, dealing, seed }: Experiment,
): RemoteExperiment | undefined {
  if (isLocal(mask) || dealing !== labDefaults.dealing) return undefined;
  return { ...defaults, T, P, H, Hkv, D, N, ways: variant, dtype: wire, link, causal: mask.kind === "causal", seed };
}

/** The most of each count. */
export const MOST = { T: 16_000_000, P: 16_000_000, H: 1024, Hkv: 1024, N: 256, rows: 1024 } as const;

/** The fields of an experiment, as the page writes them. */
export function draftOf(e: RemoteExperiment): Draft {
  return {
    work: e.work,
    model: e.model,
    T: formatCount(e.T),
    P: formatCount(e.P),
    H: formatCount(e.H),
    Hkv: formatCount(e.Hkv),
    D: formatCount(e.D),
    N: formatCount(e.N),
    ways: e.ways,
    dtype: e.dtype,
    causal: e.causal ? "1" : "0",
    bandwidth: e.link === null ? "off" : formatRate(e.link.bandwidth),
    latency: formatSeconds(e.link?.latency ?? 0),
    seed: String(e.seed),
    rows: formatCount(e.rows),
  };
}

/**
 * Reads a draft. Each problem names its field, what was found and what is expected. The machine itself reports what it
 * can't hold.
 */
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
  const one = <K extends keyof typeof choices>(field: K): keyof (typeof choices)[K] => {
    if (!Object.hasOwn(choices[field], draft[field])) wrong(field, `one of ${Object.keys(choices[field]).join(", ")}`);
    return draft[field] as unknown as keyof (typeof choices)[K];
  };
  const whole = (field: Field, least: number, most: number, what = "a whole number") => {
    const value = parseCount(draft[field]);
    if (!(value >= least && value <= most)) wrong(field, `${what} from ${formatCount(least)} to ${formatCount(most)}`);
    return value;
  };
  const work = one("work");
  // The sentence hides the fields of the other kind of work, so their contents can't be wrong.
  const attends = work !== "layer";
  const ifAttend = (
    field: Field,
    least: number,
    most: number,
    otherwise: number,
  ) => (attends ? whole(field, least, most) : whole0(draft[field], least, most, otherwise));
  const T = whole("T", 1, MOST.T);
  const P = whole("P", 0, MOST.P);
  const H = ifAttend("H", 1, MOST.H, defaults.H);
  const Hkv = ifAttend("Hkv", 1, MOST.Hkv, defaults.Hkv);
  const D = ifAttend("D", 16, 256, defaults.D);
  if (attends && !problems.has("D") && D % 4 !== 0) wrong("D", `a multiple of 4, such as ${4 * Math.round(D / 4)}`);
  if (attends && !problems.has("H") && !problems.has("Hkv") && H % Hkv !== 0) {
    wrong("H", `a multiple of the ${formatCount(Hkv)} KV heads`);
  }
  const N = whole("N", 1, MOST.N);
  const rows = ifAttend("rows", 0, MOST.rows, defaults.rows);
  const off = /^\s*(off|none)\s*$/i.test(draft.bandwidth);
  const bandwidth = off ? Infinity : parseRate(draft.bandwidth);
  if (!off && !(bandwidth > 0 && bandwidth < Infinity)) wrong("bandwidth", "a rate such as 26.5 GB/s, or off");
  const latency = off ? 0 : parseSeconds(draft.latency);
  if (!(latency >= 0 && latency <= 10)) wrong("latency", "a time such as 35 µs, at most 10 s");
  const seed = whole("seed", 0, 2 ** 32 - 1);
  const causal = !attends || one("causal") === "1";
  const read = { work, ways: one("ways"), dtype: one("dtype"), model: attends ? defaults.model : one("model") };
  if (problems.size > 0) {
    return {
      problems: new Map(fields.flatMap((field) => (problems.has(field) ? [[field, problems.get(field)!]] : []))),
    };
  }
  return {
    problems,
    experiment: { ...read, T, P, H, Hkv, D, N, causal, link: off ? null : { bandwidth, latency }, seed, rows },
  };
}

function whole0(text: string, least: number, most: number, otherwise: number): number {
  const value = parseCount(text);
  return value >= least && value <= most ? value : otherwise;
}

/** A field's text as the page writes it, or unchanged if it can't be read. */
export function tidy(field: Field, text: string): string {
  const bare = text.trim();
  if (field === "bandwidth") {
    return parseRate(bare) > 0 ? formatRate(parseRate(bare)) : bare.toLowerCase() === "none" ? "off" : bare;
  }
  if (field === "latency") return Number.isFinite(parseSeconds(bare)) ? formatSeconds(parseSeconds(bare)) : bare;
  if (field === "seed" || field in choices) return bare;
  const count = parseCount(bare);
  return Number.isFinite(count) ? formatCount(count) : bare;
}

/** Keys in the address. They differ from other views', so that one address can hold the state of all. */
const keys: Readonly<Record<Exclude<Field, "bandwidth" | "latency">, string>> = {
  work: "work",
  model: "of",
  T: "tokens",
  P: "past",
  H: "qheads",
  Hkv: "kvheads",
  D: "dim",
  N: "ring",
  ways: "ways",
  dtype: "type",
  causal: "rmask",
  seed: "rseed",
  rows: "verify",
};

/** An experiment in an address. Other parts of the address stay. */
export function toQuery(e: RemoteExperiment, before = ""): string {
  const query = new URLSearchParams(before);
  for (const [field, key] of Object.entries(keys)) {
    query.set(key, field === "causal" ? (e.causal ? "1" : "0") : String(e[field as keyof RemoteExperiment]));
  }
  query.set("net", e.link === null ? "off" : `${e.link.bandwidth},${e.link.latency}`);
  return query.toString().replaceAll("%2C", ",");
}

/** The draft of an address. Missing fields have their defaults; wrong values stay in their fields for correction. */
export function fromQuery(query: string): Draft {
  const given = new URLSearchParams(query);
  const draft: Record<Field, string> = { ...draftOf(defaults) };
  for (const [field, key] of Object.entries(keys)) {
    const value = given.get(key);
    if (value !== null) draft[field as Field] = tidy(field as Field, value);
  }
  // In older addresses its key was the Lab's of today.
  const before = given.get("mask");
  if (!given.has("rmask") && (before === "1" || before === "0")) draft.causal = before;
  const link = given.get("net");
  if (link !== null) {
    const [bandwidth, latency = "0"] = link.split(",");
    draft.bandwidth = tidy("bandwidth", bandwidth);
    draft.latency = tidy("latency", latency);
  }
  return draft;
}

/** The variants of an experiment, in order. */
export function variantsOf({ ways, N }: Pick<RemoteExperiment, "ways" | "N">): readonly Variant[] {
  if (ways !== "both") return [ways];
  // One rank sends nothing, so both variants would be the same run.
  return N === 1 ? ["pass-kv"] : ["pass-kv", "pass-q"];
}

/** True if two experiments are the same. */
export function same(a: RemoteExperiment | undefined, b: RemoteExperiment | undefined): boolean {
  return a !== undefined && b !== undefined && toQuery(a) === toQuery(b);
}

/** An experiment in a few words: "attention, 128,000 new and 0 cached tokens, 16/1 heads of 128 in bf16, 8 ranks". */
export function sayExperiment({ work, model, T, P, H, Hkv, D, dtype, N, causal, link }: RemoteExperiment): string {
  const what = work === "attend" ? "attention" : `one layer of ${choices.model[model]}`;
  const heads = work === "attend" ? `, ${H}/${Hkv} heads of ${D}` : "";
  return `${what}, ${formatCount(T)} new and ${formatCount(P)} cached tokens${heads} in ${dtype}${
    causal ? "" : ", full mask"
  }, ${N} ${N === 1 ? "rank" : "ranks"}, ${
    link === null ? "no link model" : `${formatRate(link.bandwidth)} link, ${formatSeconds(link.latency)} latency`
  }`;
}
