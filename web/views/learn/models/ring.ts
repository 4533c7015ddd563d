/** Chapters 5 and 6: a real ring of ranks in this thread, recorded hop by hop. */
import {
  attendInProcess,
  CAUSAL,
  CpuAttention,
  type CpuKeys,
  type CpuPartial,
  type CpuRows,
  type Difference,
  difference,
  reference,
  shard,
  visibility,
} from "../../../engine/learn.ts";
import type { Variant } from "../../../engine/run.ts";
import { copyOf, D, type Small, small } from "./small.ts";

/** What a rank did at a hop. */
export interface Meeting {
  readonly rank: number;
  readonly hop: number;
  /** The rank that first had the visiting KV or queries. */
  readonly owner: number;
  /** Query-key pairs seen. */
  readonly pairs: number;
  /** In pass-KV, for the rank's last token: its LSE and first element of O so far, and the keys seen at this hop. */
  readonly lse: number;
  readonly out: number;
  readonly keys: number;
}

/** A run of the ring. */
export interface RingRun {
  readonly meetings: readonly Meeting[];
  readonly out: Difference;
  /** The position of each rank's last token, and its values in float64. */
  readonly last: readonly { readonly token: number; readonly lse: number; readonly out: number }[];
  /** Bytes of one ring message in f32. */
  readonly message: number;
}

/** Runs a small seeded experiment with one head on `ranks` ranks. */
export async function ringRun(
  seed: number,
  ranks: number,
  fresh: number,
  cached: number,
  variant: Variant,
): Promise<RingRun> {
  const sequences = [{ new: fresh, cached }];
  const input: Small = small(seed, sequences);
  const blocks = shard(sequences, ranks);
  const meetings: Meeting[] = [];
  class Watched extends CpuAttention {
    readonly #rank: number;
    constructor(rank: number, ...rest: ConstructorParameters<typeof CpuAttention>) {
      super(...rest);
      this.#rank = rank;
    }
    override async attend(hop: number, q: CpuRows, kv: CpuKeys, into?: CpuPartial): Promise<CpuPartial> {
      const partial = await super.attend(hop, q, kv, into);
      const { o, lse } = copyOf(partial);
      const { pairs, bands: [band] } = visibility(q.block, kv.block, CAUSAL);
      const row = lastRow(q.block.runs);
      meetings.push({
        rank: this.#rank,
        hop,
        owner: variant === "pass-kv" ? kv.owner : q.owner,
        pairs,
        lse: lse[row],
        out: o[row * D],
        keys: band[2 * row + 1] - band[2 * row],
      });
      return partial;
    }
  }
  const run = await attendInProcess(
    { ...input, variant },
    ranks,
    (shape, recorder) => new Watched(recorder.rank, shape, recorder),
  );
  const exact = reference(input);
  const last = blocks.queries.map(({ runs }) => {
    const end = runs[runs.length - 1];
    const token = end.start + end.length - 1;
    return { token, lse: exact.lse[token - cached], out: exact.out[(token - cached) * D] };
  });
  const rows = variant === "pass-kv" ? 2 * blocks.keys[0].rows : blocks.queries[0].rows;
  return {
    meetings: meetings.sort((a, b) => a.rank - b.rank || a.hop - b.hop),
    out: difference(run.out, exact.out),
    last,
    message: rows * D * 4,
  };
}

function lastRow(runs: readonly { readonly row: number; readonly length: number }[]): number {
  const end = runs[runs.length - 1];
  return end === undefined ? 0 : end.row + end.length - 1;
}
