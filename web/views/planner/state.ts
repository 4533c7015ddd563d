/** A question to the planner as typed: how its fields are read, the draft of an address, and the engine's input. */
import {
  ACCELERATORS,
  clusterFromJson,
  CLUSTERS,
  type ClusterSpec,
  FABRICS,
  findModel,
  isLocal,
  type Mask,
  MODELS,
  type PlanInput,
} from "../../engine/plan.ts";
import { defaults, type Field, fields, keys, names, type Question } from "../../lib/address/plan.ts";
import { formatCount } from "../../lib/format/format.ts";
import { parseCount } from "../../lib/format/quantity.ts";

/** The text of each field, as typed. */
export type Draft = Readonly<Record<Field, string>>;

/** What a draft reads as: a question, or the problems by field. */
export interface Reading {
  readonly question?: Question;
  readonly problems: ReadonlyMap<Field, string>;
}

/** Values of the fields with a list, and their visible text. */
export const choices = {
  step: { prefill: "prefill", decode: "decode" },
  model: Object.fromEntries(MODELS.map(({ name }) => [name, name])),
  accelerator: Object.fromEntries(ACCELERATORS.map(({ name, label }) => [name, label])),
  fabric: Object.fromEntries(FABRICS.map(({ name, label }) => [name, label])),
  variant: { auto: "the faster variant", "pass-kv": "pass-KV", "pass-q": "pass-Q" },
  mask: {
    own: "the model’s own masks",
    causal: "a causal mask",
    full: "a full mask",
    window: "a window of",
    chunk: "chunks of",
  },
  dealing: { auto: "as is faster", "head-tail": "head-tail", contiguous: "contiguous" },
} as const satisfies Partial<Record<Field, Record<string, string>>>;

/** The most of each count. */
export const MOST = {
  cp: 1024,
  tp: 1024,
  new: 10_000_000,
  cached: 100_000_000,
  batch: 65_536,
  size: 100_000_000,
} as const;

/** Up to this number of ranks, the engine simulates each. The page plans no more if ranks differ. */
export const EVERY_RANK = 256;

/** The range of the policy map: T in tokens, miss rate as a share. */
export const MAP = { tokens: [256, 1_000_000], misses: [0.0025, 1] } as const;

/** The fields of a question, as the page writes them. */
export function draftOf(question: Question): Draft {
  return Object.fromEntries(
    fields.map((
      field,
    ) => [field, typeof question[field] === "number" ? formatCount(question[field]) : question[field]]),
  ) as Record<Field, string>;
}

/**
 * Reads a draft. Each problem names its field, what was found and what is expected. The engine itself reports what it
 * rejects beyond that.
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
  const mask = one("mask") as Question["mask"];
  const question: Question = {
    step,
    model: one("model"),
    accelerator: one("accelerator"),
    fabric: one("fabric"),
    cp: whole("cp", 1),
    tp: whole("tp", 1),
    // Decode hides this field, so its contents can't be wrong.
    new: step === "decode" ? (parseCount(draft.new) >= 1 ? parseCount(draft.new) : 1) : whole("new", 1),
    cached: whole("cached", 0),
    batch: whole("batch", 1),
    variant: one("variant") as Question["variant"],
    mask,
    size: mask === "window" || mask === "chunk" ? whole("size", 1) : defaults.size,
    dealing: one("dealing") as Question["dealing"],
    persistent,
  };
  if (problems.size === 0 && question.cp > EVERY_RANK && !alike(question)) {
    wrong("cp", `at most ${EVERY_RANK}, because each rank has other work under this mask and dealing`);
  }
  return problems.size > 0 ? { problems } : { problems, question };
}

/** A field's text as the page writes it, or unchanged if it can't be read. */
export function tidy(field: Field, text: string): string {
  const count = field in MOST ? parseCount(text) : NaN;
  return Number.isFinite(count) ? formatCount(count) : text.trim();
}

/** The draft of an address. Missing fields have their defaults; wrong values stay in their fields for correction. */
export function fromQuery(query: string): { readonly draft: Draft; readonly persistent: boolean } {
  const given = new URLSearchParams(query);
  const draft: Record<Field, string> = { ...draftOf(defaults) };
  for (const field of fields) {
    const value = given.get(keys[field]);
    if (value !== null) draft[field] = tidy(field, value);
  }
  return { draft, persistent: given.get("persistent") === "1" };
}

/** The engine's cluster for a GPU and a fabric: a known one, or else hosts of eight such GPUs. */
export function clusterOf({ accelerator, fabric }: Pick<Question, "accelerator" | "fabric">): ClusterSpec {
  return CLUSTERS.find((c) => c.accelerator.name === accelerator && c.fabric.name === fabric) ??
    clusterFromJson({ accelerator, fabric }, `${accelerator} over ${fabric}`);
}

/** The mask of every layer, if the question has one, and the dealing, as the engine's input. */
export function masksOf({ mask, size, dealing }: Question): Pick<PlanInput, "mask" | "dealing"> {
  const all: Mask | undefined = mask === "own"
    ? undefined
    : mask === "window" || mask === "chunk"
    ? { kind: mask, size }
    : { kind: mask };
  return { ...(all === undefined ? {} : { mask: all }), dealing };
}

/** Whether a layer sees only a part of its context, so that messages differ. */
export function hasWindows(question: Question): boolean {
  const { mask } = masksOf(question);
  const masks = mask === undefined ? findModel(question.model).masks ?? [] : [{ mask }];
  return masks.some((kind) => isLocal(kind.mask));
}

/** Whether all ranks have the same work. */
function alike(question: Question): boolean {
  return !hasWindows(question) && (question.dealing !== "contiguous" || question.mask === "full");
}

/** A question as the engine's input. */
export function inputOf(question: Question): PlanInput {
  const { cp, tp, cached, batch, variant, step, persistent } = question;
  return {
    model: findModel(question.model),
    cluster: clusterOf(question),
    ...masksOf(question),
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

/** Whether a question has the paper's hardware, model, mask and dealing. */
export function onPaper(question: Question): boolean {
  const { model, accelerator, fabric, mask, dealing } = question;
  return model === "llama3-405b" && accelerator === "h100-hbm2e" && fabric === "gtt" && !hasWindows(question) &&
    mask !== "full" && dealing !== "contiguous";
}
