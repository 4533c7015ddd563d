/** What float64 says of one row of Q after each hop, of the true operands and of what the wire makes of them. */
import type { KeyRun, loadEngine, Variant } from "../../engine/run.ts";

/** O `[H, D]` and LSE `[H]` in float64. */
export interface ExactRow {
  readonly out: Float64Array;
  readonly lse: Float64Array;
}

/**
 * Partials after a hop: over the keys that it adds, and over those seen so far; of the operands as they are given, and
 * as the wire rounds them.
 */
export interface ExactHop {
  readonly alone: { readonly given: ExactRow; readonly sent: ExactRow };
  readonly soFar: { readonly given: ExactRow; readonly sent: ExactRow };
}

type Engine = Pick<Awaited<ReturnType<typeof loadEngine>>, "reference" | "encode" | "decode">;
type Input = Parameters<Engine["reference"]>[0] & {
  readonly variant: Variant;
  readonly wire: Parameters<Engine["encode"]>[1];
};

/** The partials of `row`; `hops[j]` are the keys of hop j. */
export function exactHops(
  input: Input,
  row: number,
  hops: readonly (readonly KeyRun[])[],
  { reference, encode, decode }: Engine,
): ExactHop[] {
  const { variant, wire, q, k, v } = input;
  const rounded = (x: Float32Array) => (wire === "f32" ? x : decode(encode(x, wire), wire));
  const sent = variant === "pass-q" ? { ...input, q: rounded(q) } : { ...input, k: rounded(k), v: rounded(v) };
  const both = (keys: readonly KeyRun[]) => ({
    given: reference(input, [row], keys),
    sent: reference(sent, [row], keys),
  });
  return hops.map((keys, j) => ({ alone: both(keys), soFar: both(hops.slice(0, j + 1).flat()) }));
}
