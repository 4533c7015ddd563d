/** What a worker says of a layer, as terms that can be compared: `value` of the protocol's call `layer`. */
import type { Term } from "./compare.ts";

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const seconds = (value: unknown): number | undefined => (typeof value === "number" && Number.isFinite(value) ? value : undefined);

/** Terms of one layer by the planner's kinds; what a newer worker calls otherwise keeps its own name. */
export function layerTerms(value: Json): Map<string, Term> {
  const out = new Map<string, Term>();
  const terms = isObject(value.terms) ? Object.entries(value.terms) : [];
  for (const [id, term] of terms) {
    const time = seconds(isObject(term) ? term.seconds : term);
    if (time === undefined) continue;
    const origin = isObject(term) && typeof term.origin === "string" && term.origin !== "measured" ? term.origin : undefined;
    out.set(id, { name: id, seconds: time, ...(origin === undefined ? {} : { origin }) });
  }
  return out;
}

/** The TTFT that was derived from a layer. */
export function ttftOf(value: Json): Term | undefined {
  const time = seconds(isObject(value.ttft) ? value.ttft.seconds : value.ttft);
  return time === undefined ? undefined : { name: "TTFT", seconds: time, origin: "derived from one layer" };
}
