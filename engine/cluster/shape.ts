/** The shape of a run, and the types that its operands are stored in. */
import type { Shape } from "../ring/chunk.ts";
import type { AttendInput, Variant } from "./types.ts";

/** The shape of a run, with the wire type on the operand that travels. */
export function shapeOf(
  input: Pick<AttendInput, "heads" | "kvHeads" | "headDim" | "scale">,
  variant: Variant,
  wire: Shape["q"],
  causal: boolean,
): Shape {
  const { heads, kvHeads, headDim } = input;
  const scale = input.scale ?? 1 / Math.sqrt(headDim);
  return {
    heads,
    kvHeads,
    headDim,
    scale,
    causal,
    q: variant === "pass-q" ? wire : "f32",
    kv: variant === "pass-kv" ? wire : "f32",
  };
}
