/** One row of Q after each hop in float64, for the true operands and for those that the wire has rounded. */
import type { KeyRun, loadEngine, Variant } from "../../engine/run.ts";

/** O `[H, D]` and LSE `[H]` in float64. */
export interface ExactRow {
  readonly out: Float64Array;
  readonly lse: Float64Array;
}

/**
 * Partials after a hop: `alone` over the keys that it adds, `soFar` over all keys up to then. Each for the `given`
 * operands, and for those `sent`, which the wire has rounded.
 */
export interface ExactHop {
  readonly alone: { readonly given: ExactRow; readonly sent: ExactRow };
  readonly soFar: { readonly given: ExactRow; readonly sent: ExactRow };
}

type Engine = Pick<Awaited<ReturnType<typeof loadEngine>>, "reference" | "toBytes" | "fromBytes">;
type Input = Parameters<Engine["reference"]>[0] & {
  readonly variant: Variant;
  readonly wire: Parameters<Engine["toBytes"]>[1];
};

/** The partials of `row`; `hops[j]` are the keys of hop j. */
export function exactHops(
  input: Input,
  row: number,
  hops: readonly (readonly KeyRun[])[],
  { reference, toBytes, fromBytes }: Engine,
): ExactHop[] {
  const { variant, wire, q, k, v } = input;
  const rounded = (x: Float32Array) => (wire === "f32" ? x : fromBytes(toBytes(x, wire), wire));
  const sent = variant === "pass-q"
    ? { ...input, q: rounded(q) }
    : { ...input, k: rounded(k), v: rounded(v as Float32Array) };
  const both = (keys: readonly KeyRun[]) => ({
    given: reference(input, [row], keys),
    sent: reference(sent, [row], keys),
  });
  return hops.map((keys, j) => ({ alone: both(keys), soFar: both(hops.slice(0, j + 1).flat()) }));
}
