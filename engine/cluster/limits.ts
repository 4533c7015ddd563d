/** Whether an experiment fits the ranks' devices, before anything is sent to them. */
import { LimitError } from "../errors.ts";
import type { Sequence } from "../layout/shards.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";
import type { DeviceLimits } from "../gpu/device.ts";
import type { Variant } from "../ring/contract.ts";

/** What decides the size of a rank's buffers. */
export interface Footprint {
  readonly sequences: readonly Sequence[];
  readonly ranks: number;
  readonly variant: Variant;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly wireDtype: DType;
}

/** The largest binding and the largest buffer of a rank, in bytes, for T new and P cached tokens in all. */
function largest({ ranks, variant, heads, kvHeads, headDim, wireDtype }: Footprint, T: number, P: number): { binding: number; buffer: number } {
  const rows = Math.ceil(T / ranks);
  const keys = rows + Math.ceil(P / ranks);
  const e = (travels: Variant) => bytesPer(variant === travels ? wireDtype : "f32");
  const q = rows * heads * headDim * e("pass-q");
  const k = keys * kvHeads * headDim * e("pass-kv");
  // Pass-Q's merge stacks the partials of all ranks.
  const o = rows * heads * headDim * 4 * (variant === "pass-q" ? ranks : 1);
  return { binding: Math.max(q, k, o), buffer: Math.max(q, 2 * k, o) };
}

/** Throws LimitError, with the largest T that would fit beside the same cached tokens, where a rank's buffers exceed its device. */
export function requireFits(footprint: Footprint, limits: DeviceLimits): void {
  const T = footprint.sequences.reduce((sum, s) => sum + s.new, 0);
  const P = footprint.sequences.reduce((sum, s) => sum + s.cached, 0);
  const fits = (tokens: number) => {
    const { binding, buffer } = largest(footprint, tokens, P);
    return binding <= limits.maxStorageBufferBindingSize && buffer <= limits.maxBufferSize;
  };
  if (fits(T)) return;
  let [some, tooMany] = [0, T];
  while (tooMany - some > 1) {
    const middle = Math.floor((some + tooMany) / 2);
    if (fits(middle)) some = middle;
    else tooMany = middle;
  }
  const { binding, buffer } = largest(footprint, T, P);
  const [name, need] = binding > limits.maxStorageBufferBindingSize ? ["maxStorageBufferBindingSize", binding] as const : ["maxBufferSize", buffer] as const;
  throw new LimitError(`${name} (bytes a rank)`, limits[name], need, some);
}
