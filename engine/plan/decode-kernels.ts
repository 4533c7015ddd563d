/** The small kernels of a decode layer, without attention and all-reduces. Each costs a launch in the CUDA graph. */
import type { FfnPrecision } from "./models.ts";

/**
 * The kernels of a layer. Those with `fp8` run only if the feed-forward weights are FP8. This is a count from the
 * model's structure, not a fit.
 */
export const DECODE_KERNELS: readonly { readonly name: string; readonly fp8?: true }[] = [
  { name: "norm" },
  { name: "QKV product" },
  { name: "rotate Q" },
  { name: "rotate K" },
  { name: "append K and V to the cache" },
  { name: "output product" },
  { name: "add residual" },
  { name: "norm" },
  { name: "quantise rows", fp8: true },
  { name: "gate product" },
  { name: "up product" },
  { name: "activate and multiply" },
  { name: "quantise rows", fp8: true },
  { name: "down product" },
  { name: "add residual" },
];

/** The number of small kernels that a decode layer launches. */
export function decodeKernels(ffn: FfnPrecision): number {
  return DECODE_KERNELS.filter((k) => k.fp8 === undefined || ffn === "fp8").length;
}
