/** The planner's figures in words. */
import type { Breakdown } from "../../engine/plan.ts";
import { formatCount } from "../../lib/format/format.ts";
import type { TimeKind } from "../../lib/format/kinds.ts";
import type { Question } from "../../lib/address/plan.ts";

/** A signed relative error: "-1.3 %". */
export function sayError(error: number | null): string {
  if (error === null) return "–";
  const text = (100 * error).toFixed(1);
  return `${Number(text) > 0 ? "+" : Number(text) < 0 ? "−" : "±"}${text.replace("-", "")} %`;
}

/** A question in a few words: "prefill of llama3-405b, CP4 × TP8, 12,800 new and 115,200 cached tokens". */
export function sayQuestion({ step, model, cp, tp, new: fresh, cached }: Question): string {
  return `${step} of ${model}, CP${cp} × TP${tp}, ${step === "decode" ? "" : `${formatCount(fresh)} new and `}${
    formatCount(cached)
  } cached tokens`;
}

/** The kinds of a breakdown in order, each with its label and the kind of time whose mark it has, or "launch". */
export const kinds: readonly (readonly [key: keyof Breakdown, label: string, mark: TimeKind | "launch"])[] = [
  ["attention", "Attention", "attend"],
  ["gemm", "Matrix products", "other"],
  ["exposed", "Exposed transfer", "wait"],
  ["all2all", "All2All", "all2all"],
  ["allreduce", "All-reduce", "transfer"],
  ["launch", "Launches and host", "launch"],
];
