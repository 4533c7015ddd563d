/** The check of a result against float64, with the bar that its storage types allow. */
import type { Variant } from "../ring/contract.ts";
import { decode, type DType, encode } from "../tensor/dtype.ts";
import { reference, type ReferenceInput, type ReferenceOutput } from "./attention.ts";
import { type Difference, difference, F32_TOLERANCE, type Tolerance } from "./error.ts";

/** An experiment with what its wire may have rounded. */
export interface CheckInput extends ReferenceInput {
  readonly variant?: Variant | "auto";
  readonly wireDtype?: DType;
}

/** How far O and LSE lie from float64, the bars, and whether both are met. */
export interface Check {
  readonly out: Difference;
  readonly lse: Difference;
  readonly tolerance: { readonly out: Tolerance; readonly lse: Tolerance };
  readonly passed: boolean;
}

/** What a wire type alone costs: float64 attention of the rounded operand against that of the true one, largest differences. */
function wireError(input: CheckInput, exact: ReferenceOutput): { out: number; lse: number } {
  const { wireDtype = "f32", variant = "pass-kv" } = input;
  const rounded = (x: Float32Array) => decode(encode(x, wireDtype), wireDtype);
  const { q, k, v } = input;
  // "auto" may send either, and a session that does caches rounded keys and values too.
  const once = reference({ ...input, ...(variant !== "pass-kv" && { q: rounded(q) }), ...(variant !== "pass-q" && { k: rounded(k), v: rounded(v) }) });
  return { out: difference(once.out, exact.out).max, lse: difference(once.lse, exact.lse).max };
}

/**
 * Compares a result with float64. Bars: f32, 2e-6 absolute or 1e-5 relative; with a 16-bit wire, twice the error of one
 * single-rank pass of the same types, plus 1e-3.
 */
export function check(input: CheckInput, result: { readonly out: Float32Array; readonly lse: Float32Array }, exact = reference(input)): Check {
  let tolerance = { out: F32_TOLERANCE, lse: F32_TOLERANCE };
  if (input.wireDtype === "f16" || input.wireDtype === "bf16") {
    const once = wireError(input, exact);
    tolerance = { out: { absolute: 2 * once.out + 1e-3, relative: 0 }, lse: { absolute: 2 * once.lse + 1e-3, relative: 0 } };
  }
  const out = difference(result.out, exact.out, tolerance.out);
  const lse = difference(result.lse, exact.lse, tolerance.lse);
  return { out, lse, tolerance, passed: out.within && lse.within };
}
