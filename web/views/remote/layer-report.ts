/** A worker's report of a layer, as terms to compare: `value` of the protocol's call `layer`. */

/** The planner's kinds of a layer's time, and "pointwise", which it does not count: norms, RoPE and the gate. */
export type LayerTerm = "attention" | "gemm" | "exposed" | "allreduce" | "pointwise";

/** Seconds of one layer, and their origin. */
export interface Term {
  readonly seconds: number;
  /** "measured", "modelled". */
  readonly how: string;
}

/** A layer's terms, the sum, the derived TTFT, and the worker's notes. */
export interface LayerReport {
  readonly terms: ReadonlyMap<LayerTerm, Term>;
  readonly seconds: number | undefined;
  readonly ttft: number | undefined;
  readonly notes: readonly string[];
}

const kinds: Readonly<Record<string, LayerTerm>> = {
  attention: "attention",
  "qkv product": "gemm",
  "out product": "gemm",
  "up product": "gemm",
  "down product": "gemm",
  "exposed communication": "exposed",
  "TP all-reduce": "allreduce",
  "norm 1": "pointwise",
  rope: "pointwise",
  "norm 2": "pointwise",
  activation: "pointwise",
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const time = (
  value: unknown,
): number | undefined => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined);

/** Reads one. Unknown terms count only in the sum. */
export function readLayer(value: Readonly<Record<string, unknown>>): LayerReport {
  const terms = new Map<LayerTerm, Term>();
  for (const row of Array.isArray(value.terms) ? value.terms.filter(isObject) : []) {
    const kind = typeof row.term === "string" && Object.hasOwn(kinds, row.term) ? kinds[row.term] : undefined;
    const seconds = time(row.seconds);
    if (kind === undefined || seconds === undefined) continue;
    terms.set(kind, {
      seconds: (terms.get(kind)?.seconds ?? 0) + seconds,
      how: typeof row.how === "string" ? row.how.slice(0, 40) : "",
    });
  }
  return {
    terms,
    seconds: time(value.layerSeconds),
    ttft: time(value.ttft),
    notes: Array.isArray(value.notes)
      ? value.notes.filter((note) => typeof note === "string").slice(0, 16).map((note) => note.slice(0, 300))
      : [],
  };
}
