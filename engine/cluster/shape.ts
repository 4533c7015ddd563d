/** The shape of a run, and the types that its operands are stored in. */
import { maskFrom } from "../layout/mask.ts";
import type { Shape } from "../ring/chunk.ts";
import { type ValueHead, valueHead } from "../tensor/heads.ts";
import type { AttendInput, Variant } from "./types.ts";

/** The shape of a run, with the wire type on the operand that travels. Errors: InputError. */
export function shapeOf(
  input: Pick<AttendInput, "heads" | "kvHeads" | "headDim" | "scale" | "mask" | "causal"> & ValueHead,
  variant: Variant,
  wire: Shape["q"],
): Shape {
  const { heads, kvHeads, headDim } = input;
  const scale = input.scale ?? 1 / Math.sqrt(headDim);
  return {
    heads,
    kvHeads,
    headDim,
    ...valueHead(input),
    scale,
    mask: maskFrom(input),
    q: variant === "pass-q" ? wire : "f32",
    kv: variant === "pass-kv" ? wire : "f32",
  };
}
