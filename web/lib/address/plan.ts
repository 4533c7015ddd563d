/** A question to the planner and its form in the page's address. */
import type { Variant } from "../../engine/run.ts";

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

/** A part of the question that the sentence shows. */
export type Field = Exclude<keyof Question, "persistent">;

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

/** All fields. */
export const fields = Object.keys(names) as Field[];

/** Keys of the address. They are none of the Lab's, so that one address holds the states of both views. */
export const keys: Readonly<Record<Field, string>> = {
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

/** The address's query with a question in it; what other views wrote there stays. */
export function toQuery(question: Question, before = ""): string {
  const query = new URLSearchParams(before);
  for (const field of fields) query.set(keys[field], String(question[field]));
  if (question.persistent) query.set("persistent", "1");
  else query.delete("persistent");
  return query.toString().replaceAll("%2C", ",");
}
