/** How many rows of queries and of keys a slice may have, so that every buffer of an attention fits the device. */
import { LimitError } from "../errors.ts";
import { sinkTokensOf } from "../layout/mask.ts";
import type { Block } from "../layout/shards.ts";
import { cut, longest } from "../layout/slices.ts";
import { rowBytes, type Shape } from "../ring/chunk.ts";
import type { Variant } from "../ring/contract.ts";
import type { DeviceLimits } from "./facts.ts";
import { PIECE_KEYS } from "./kernels.ts";

/** Most rows of a slice, at least one each. */
export interface SliceRows {
  readonly queries: number;
  /** Rows of queries if no sequence has more than one: decode.wgsl makes a partial for each piece of their keys. */
  readonly singles: number;
  /** Rows of keys. Each sequence's count is rounded up to a multiple of `KEYS_STEP`. */
  readonly keys: number;
}

/** On the device, each sequence's keys begin at a multiple of this (see `aligned`). */
export const KEYS_STEP = 4;

/**
 * In a buffer of K and V, V begins at a multiple of this many bytes: the largest alignment that a device may require.
 */
const OFFSET = 256;

/** A buffer stays this many bytes under the limit: SwiftShader has no memory for one of exactly its limit, 1 GiB. */
const SPARE = 256;

/** Bytes of one row of Q, of the larger of K and V, of O and of LSE. */
function widths(shape: Shape): { q: number; k: number; o: number; lse: number } {
  const { queries: [q], keys, partial: [o, lse] } = rowBytes(shape);
  return { q, k: Math.max(...keys), o, lse };
}

/** Partials that a merge stacks: in pass-Q, those of all ranks. */
const stacked = (variant: Variant, ranks: number): number => (variant === "pass-q" ? ranks : 1);

/** A row's second band may make one more piece of its keys. */
const morePieces = ({ mask }: Shape): number => (sinkTokensOf(mask) > 0 ? 1 : 0);

/** Throws LimitError if even slices of one row don't fit the device. */
export function requireRow(shape: Shape, variant: Variant, ranks: number, limits: DeviceLimits): void {
  const { q, k, o, lse } = widths(shape);
  // If a single row's keys are cut, two partials are stacked: the piece's and the running one.
  const parts = Math.max(stacked(variant, ranks), 2 + morePieces(shape));
  const need = Math.max(q, o * parts, 2 * Math.ceil((KEYS_STEP * k) / OFFSET) * OFFSET);
  for (
    const [name, bytes] of [["maxStorageBufferBindingSize", need], [
      "maxBufferSize",
      Math.max(need, o + lse) + SPARE,
    ]] as const
  ) {
    if (bytes > limits[name]) {
      throw new LimitError(
        `${name} (bytes, for a single row on ${ranks === 1 ? "one rank" : `${ranks} ranks`})`,
        limits[name],
        bytes,
      );
    }
  }
}

/** The rows that a slice may have in a ring of `ranks`, if a rank's KV chunk is `kv`. Errors: as requireRow's. */
export function sliceRows(shape: Shape, variant: Variant, ranks: number, kv: Block, limits: DeviceLimits): SliceRows {
  requireRow(shape, variant, ranks, limits);
  // K and V share a buffer, which the pool may hand out again as one binding.
  const largest = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize - SPARE);
  const { q, k, o, lse } = widths(shape);
  // Results are read back as O and LSE in one buffer, which no kernel binds.
  const queries = Math.min(
    Math.floor(largest / Math.max(q, o * stacked(variant, ranks))),
    Math.floor((limits.maxBufferSize - SPARE) / (o + lse)),
  );
  const half = Math.floor(largest / 2 / OFFSET) * OFFSET;
  // The partials of a single row's pieces have to fit in one binding, beside the running partial.
  const more = morePieces(shape);
  const pieces = Math.floor(largest / o) - 1 - more;
  const keys = Math.floor(Math.min(half / k, pieces * PIECE_KEYS) / KEYS_STEP) * KEYS_STEP;
  const continued = (variant === "pass-kv" && ranks > 1) || cut(kv, keys, { step: KEYS_STEP }).length > 1;
  const slots = Math.max(1, Math.ceil(Math.min(longest(kv), keys) / PIECE_KEYS)) + more;
  return { queries, singles: Math.min(queries, Math.floor(largest / (o * (slots + (continued ? 1 : 0))))), keys };
}
