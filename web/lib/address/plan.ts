/** A question to the planner and its form in the page's address. */
import type { Variant } from "../../engine/run.ts";

/** A question that the planner can answer. Names are those of the engine's tables. */
export interface Question {
  readonly step: "prefill" | "decode";
  readonly model: string;
  readonly accelerator: string;
  readonly fabric: string;
  /** N, context-parallel ranks. */
  readonly cp: number;
  /** GPUs per rank. */
  readonly tp: number;
  /** T of each sequence; decode ignores it and takes 1. */
  readonly new: number;
  /** P of each sequence. */
  readonly cached: number;
  readonly batch: number;
  readonly variant: Variant | "auto";
  /** Of every layer, or the model's own. */
  readonly mask: "own" | "causal" | "full" | "window" | "chunk";
  /** W or C. Without a window or chunk it has its default. */
  readonly size: number;
  readonly dealing: "auto" | "head-tail" | "contiguous";
  /** Counts the overhead of a persistent KV cache even if it is empty, as in the last row of Table 4. Only in addresses. */
  readonly persistent: boolean;
}

/** A part of the question that the sentence shows. */
export type Field = Exclude<keyof Question, "persistent">;

/** Names of fields in messages. */
export const names: Readonly<Record<Field, string>> = {
  step: "Step",
  model: "Model",
  accelerator: "GPU",
  fabric: "Fabric",
  cp: "Context-parallel ranks CP",
  tp: "GPUs per rank TP",
  new: "New tokens T",
  cached: "Cached tokens P",
  batch: "Sequences",
  variant: "Variant",
  mask: "Mask",
  size: "Size of window or chunk",
  dealing: "Dealing",
};

/** All fields. */
export const fields = Object.keys(names) as Field[];

/** Keys in the address. They differ from the Lab's, so that one address can hold the state of both views. */
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
  mask: "layermask",
  size: "layersize",
  dealing: "deal",
};

/** Fields that an address leaves out at their defaults. */
const rare: readonly Field[] = ["mask", "size", "dealing"];

/** The question with which the view opens: a row of Tables 4 and 5 of the paper. */
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
  mask: "own",
  size: 4096,
  dealing: "auto",
  persistent: false,
};

/** A question in an address. Other parts of the address stay. */
export function toQuery(question: Question, before = ""): string {
  const query = new URLSearchParams(before);
  for (const field of fields) {
    if (rare.includes(field) && question[field] === defaults[field]) query.delete(keys[field]);
    else query.set(keys[field], String(question[field]));
  }
  if (question.persistent) query.set("persistent", "1");
  else query.delete("persistent");
  return query.toString().replaceAll("%2C", ",");
}
