/** A call's options, and how they become its parameters and the shapes of its result. */
import type { Elsewhere } from "../../engine/cluster/index.ts";

/** What a worker takes besides the options of ranks here. */
export const WORKER: Elsewhere = {
  attend: ["ranks", "link", "onQueued", "onSpans"],
  session: ["ranks", "link", "signal"],
  step: ["onQueued", "onSpans"],
};

/** The tensors of a result by name, as `output` asks for them. */
export function shapesOf(
  output: "rows" | "full" | "none",
  tokens: number,
  heads: number,
  headDim: number,
  rows: number,
): Record<string, readonly number[]> {
  if (output === "none") return {};
  return output === "full"
    ? { out: [tokens, heads, headDim], lse: [tokens, heads] }
    : { out: [rows, headDim], lse: [rows] };
}

/** The fields that have a value: JSON has no undefined, and the schema no null. */
export function defined(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
