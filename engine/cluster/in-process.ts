/**
 * A whole ring in one thread, with all ranks on one device: for tests, and the smallest example of how the parts fit.
 */
import { keyChunk, queryChunk, scatterResult } from "./scatter.ts";
import { shapeOf } from "./shape.ts";
import type { AttendInput } from "./types.ts";
import type { Variant } from "../ring/contract.ts";
import { shard } from "../layout/shards.ts";
import { Recorder } from "../trace/clock.ts";
import type { Span } from "../trace/span.ts";
import { mergeSinks, type RankChunk, type Shape } from "../ring/chunk.ts";
import { localRings } from "../rank/local.ts";
import { type Device, runAttend } from "../rank/run.ts";

/** O `[sum T, H, D]`, LSE `[sum T, H]`, and every rank's spans. */
export interface InProcessResult {
  readonly out: Float32Array;
  readonly lse: Float32Array;
  readonly spans: readonly Span[];
}

/** An experiment of a fixed variant, with values of their own. */
export type FixedInput = Omit<AttendInput, "variant" | "v"> & {
  readonly variant?: Variant;
  readonly v: Float32Array;
};

/**
 * Runs one experiment over `size` ranks. `open` makes each rank's back-end for its KV chunk. Doesn't validate the input.
 */
export async function attendInProcess<Q, KV, P>(
  input: Omit<AttendInput, "variant"> & { readonly variant?: Variant },
  size: number,
  open: (shape: Shape, recorder: Recorder, kv: RankChunk) => Device<Q, KV, P>,
): Promise<InProcessResult> {
  const { heads, sequences, variant = "pass-kv", wireDtype = "f32", sinks } = input;
  const shape = shapeOf(input, variant, wireDtype);
  const blocks = shard(sequences, size, input.dealing);
  const recorders = blocks.queries.map((_, rank) => new Recorder(rank, 0));
  const results = await Promise.all(
    localRings<RankChunk>(size).map((ring, rank) => {
      const q = queryChunk(rank, blocks.queries[rank], input, shape);
      const kv = keyChunk(rank, blocks.keys[rank], input, shape);
      return runAttend({ variant, q, kv }, ring, open(shape, recorders[rank], kv));
    }),
  );
  const rows = sequences.reduce((sum, s) => sum + s.new, 0);
  const out = new Float32Array(rows * heads * shape.valueDim);
  const lse = new Float32Array(rows * heads);
  if (sinks !== undefined) { for (const data of results) mergeSinks(data, shape, sinks); }
  results.forEach((data, rank) => scatterResult(data, blocks.queries[rank], sequences, shape, out, lse));
  return { out, lse, spans: recorders.flatMap((r) => r.spans) };
}
