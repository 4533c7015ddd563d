/** What the planner is asked: its fields as typed, their check, and their form in the page's address. */
import {
  ACCELERATORS,
  clusterFromJson,
  CLUSTERS,
  type ClusterSpec,
  FABRICS,
  findModel,
  MODELS,
  type PlanInput,
} from "../../engine/plan.ts";
import type { Variant } from "../../engine/run.ts";
import { formatCount } from "../../lib/format/format.ts";
import { parseCount } from "../../lib/format/quantity.ts";

/** A question that can be planned. Names are those of the engine's tables. */
export interface Question {
  readonly step: "prefill" | "decode";
  readonly model: string;
  readonly accelerator: string;
  readonly fabric: string;
  /** N, context-parallel ranks. */
  readonly cp: number;
  /** GPUs a rank. */
  readonly tp: number;
  /** T of each sequence; 1 in decode whatever it says. */
  readonly new: number;
  /** P of each sequence. */
  readonly cached: number;
  readonly batch: number;
  readonly variant: Variant | "auto";
  /**
   * The overhead of a persistent KV cache though nothing is cached, as in the last row of Table 4. Only the address
   * says it.
   */
  readonly persistent: boolean;
}

/** A field of the form. */
export type Field = Exclude<keyof Question, "persistent">;

/** What stands in each field, as typed. */
export type Draft = Readonly<Record<Field, string>>;

/** A draft read: a question, or what is wrong at which field. */
export interface Reading {
  readonly question?: Question;
  readonly problems: ReadonlyMap<Field, string>;
}

/** What each field is called in messages. */
export const names: Readonly<Record<Field, string>> = {
  step: "Step",
  model: "Model",
  accelerator: "GPU",
  fabric: "Fabric",
  cp: "Context-parallel ranks CP",
  tp: "GPUs a rank TP",
  new: "New tokens T",
  cached: "Cached tokens P",
  batch: "Sequences",
  variant: "Variant",
};

const fields = Object.keys(names) as Field[];

/** Keys of the address. They are none of the Lab's, so that one address holds the states of both views. */
const keys: Readonly<Record<Field, string>> = {
  step: "step",
  model: "model",
  accelerator: "gpu",
  fabric: "fabric",
  cp: "cp",
  tp: "tp",
  new: "new",
  cached: "cached",
  batch: "batch",
  variant: "plan",
};

/** The values of the fields that are chosen from a list, with what a person reads. */
export const choices = {
  step: { prefill: "prefill", decode: "decode" },
  model: Object.fromEntries(MODELS.map(({ name }) => [name, name])),
  accelerator: Object.fromEntries(ACCELERATORS.map(({ name, label }) => [name, label])),
  fabric: Object.fromEntries(FABRICS.map(({ name, label }) => [name, label])),
  variant: { auto: "the faster variant", "pass-kv": "pass-KV", "pass-q": "pass-Q" },
} as const satisfies Partial<Record<Field, Record<string, string>>>;

/** What the view opens with: a row of Tables 4 and 5 of the paper. */
export const defaults: Question = {
  step: "prefill",
  model: "llama3-405b",
  accelerator: "h100-hbm2e",
  fabric: "gtt",
  cp: 4,
  tp: 8,
  new: 12_800,
  cached: 115_200,
  batch: 1,
  variant: "auto",
  persistent: false,
};

/** Most of each count that the page plans. */
export const MOST = { cp: 1024, tp: 1024, new: 10_000_000, cached: 100_000_000, batch: 65_536 } as const;

/** What the policy map spans: T in tokens, miss rate as a share. */
export const MAP = { tokens: [256, 1_000_000], misses: [0.0025, 1] } as const;

/** The fields as they are written for a question. */
export function draftOf(question: Question): Draft {
  return Object.fromEntries(
    fields.map((
      field,
    ) => [field, typeof question[field] === "number" ? formatCount(question[field]) : question[field]]),
  ) as Record<Field, string>;
}

/**
 * Reads a draft; every field that does not fit is named with what was found and what is expected. What the engine
 * refuses beyond that it says itself.
 */
export function read(draft: Draft, persistent = false): Reading {
  const problems = new Map<Field, string>();
  const wrong = (field: Field, expected: string) =>
    void problems.set(
      field,
      `${names[field]}: found ${draft[field].trim() === "" ? "nothing" : draft[field]}, expected ${expected}.`,
    );
  const one = <K extends keyof typeof choices>(field: K) => {
    if (!Object.hasOwn(choices[field], draft[field])) wrong(field, `one of ${Object.keys(choices[field]).join(", ")}`);
    return draft[field];
  };
  const whole = (field: keyof typeof MOST, least: number) => {
    const value = parseCount(draft[field]);
    if (!(value >= least && value <= MOST[field])) {
      wrong(field, `a whole number from ${formatCount(least)} to ${formatCount(MOST[field])}`);
    }
    return value;
  };
  const step = one("step") as Question["step"];
  const question: Question = {
    step,
    model: one("model"),
    accelerator: one("accelerator"),
    fabric: one("fabric"),
    cp: whole("cp", 1),
    tp: whole("tp", 1),
    // The field is not there in decode, so nothing in it may be wrong.
    new: step === "decode" ? (parseCount(draft.new) >= 1 ? parseCount(draft.new) : 1) : whole("new", 1),
    cached: whole("cached", 0),
    batch: whole("batch", 1),
    variant: one("variant") as Question["variant"],
    persistent,
  };
  return problems.size > 0 ? { problems } : { problems, question };
}

/** A field's text as the page writes it, where it can be read; else as it is. */
export function tidy(field: Field, text: string): string {
  const count = field in MOST ? parseCount(text) : NaN;
  return Number.isFinite(count) ? formatCount(count) : text.trim();
}

/** The address's query with a question in it; what other views wrote there stays. */
export function toQuery(question: Question, before = ""): string {
  const query = new URLSearchParams(before);
  for (const field of fields) query.set(keys[field], String(question[field]));
  if (question.persistent) query.set("persistent", "1");
  else query.delete("persistent");
  return query.toString().replaceAll("%2C", ",");
}

/**
 * The draft that an address asks for; what it leaves out is the default, what it says wrongly stands in its field to be
 * corrected.
 */
export function fromQuery(query: string): { readonly draft: Draft; readonly persistent: boolean } {
  const given = new URLSearchParams(query);
  const draft: Record<Field, string> = { ...draftOf(defaults) };
  for (const field of fields) {
    const value = given.get(keys[field]);
    if (value !== null) draft[field] = tidy(field, value);
  }
  return { draft, persistent: given.get("persistent") === "1" };
}

/** The engine's cluster for a GPU and a fabric: a known one by its name, else hosts of eight of them. */
export function clusterOf({ accelerator, fabric }: Pick<Question, "accelerator" | "fabric">): ClusterSpec {
  return CLUSTERS.find((c) => c.accelerator.name === accelerator && c.fabric.name === fabric) ??
    clusterFromJson({ accelerator, fabric }, `${accelerator} over ${fabric}`);
}

/** A question as the engine takes it. */
export function inputOf(question: Question): PlanInput {
  const { cp, tp, cached, batch, variant, step, persistent } = question;
  return {
    model: findModel(question.model),
    cluster: clusterOf(question),
    cp,
    tp,
    new: question.new,
    cached,
    batch,
    variant,
    ...(step === "decode" ? { decode: true } : {}),
    ...(persistent ? { persistent } : {}),
  };
}

/** Whether a question is of the hardware and model that the paper measured. */
export function onPaper({ model, accelerator, fabric }: Pick<Question, "model" | "accelerator" | "fabric">): boolean {
  return model === "llama3-405b" && accelerator === "h100-hbm2e" && fabric === "gtt";
}
