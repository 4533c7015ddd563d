/** The ring's own cost: all N ranks on one device, the sum of their attention beside that of a single call. */
import type { Variant } from "../cluster/types.ts";
import { GpuAttention } from "../gpu/attention.ts";
import { attendInProcess } from "../cluster/in-process.ts";
import { deviceSeconds, kernelOfCall, operandsOf } from "./attention-run.ts";
import { HEADS, type Heads, inputOf } from "./inputs.ts";
import type { Bench } from "./open.ts";
import { interleave, median, type Repeats, repeatsOf } from "./stats.ts";
import type { Warmth } from "./warm.ts";

/** One causal prefill over N ranks in one thread, on one device. */
export interface RingFigures extends Heads {
  readonly tokens: number;
  readonly ranks: number;
  readonly variant: Variant;
  /** Sum over all ranks and hops, on the device. */
  readonly attendSeconds: Repeats;
  readonly mergeSeconds: Repeats;
  /** The whole run with uploads, hand-overs and read-backs, without the warming-up of a GPU in between. */
  readonly wallSeconds: Repeats;
  /** Summed attention over the single call's (N = 1): the median of the rounds' ratios. */
  readonly ofSingleCall: number;
  /** The merge's share of attention and merge. */
  readonly mergeShare: number;
}

const RANKS = [1, 2, 4, 8];

/**
 * Lets one rank at a time use the device. A long attention is several submissions: if another rank's ran between them,
 * their time would count twice.
 */
class Queue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine;
    return mine;
  }
}

/** A rank's device that waits until no other rank uses it. */
class QueuedAttention extends GpuAttention {
  readonly #queue: Queue;
  readonly #warmth: Warmth | undefined;

  constructor(queue: Queue, warmth: Warmth | undefined, ...given: ConstructorParameters<typeof GpuAttention>) {
    super(...given);
    this.#queue = queue;
    this.#warmth = warmth;
  }

  override attend(...given: Parameters<GpuAttention["attend"]>): ReturnType<GpuAttention["attend"]> {
    return this.#queue.run(async () => {
      await this.#warmth?.up();
      return await super.attend(...given);
    });
  }

  override merge(...given: Parameters<GpuAttention["merge"]>): ReturnType<GpuAttention["merge"]> {
    return this.#queue.run(async () => {
      await this.#warmth?.up();
      return await super.merge(...given);
    });
  }
}

/** Measures rings of 1, 2, 4 and 8 ranks in turns, at each size. */
export async function measureRing(
  bench: Bench,
  sizes: readonly number[],
  repeats: number,
  signal: AbortSignal,
  progress: (what: string) => void,
): Promise<RingFigures[]> {
  const figures: RingFigures[] = [];
  const heads = HEADS[0];
  const rings = RANKS.flatMap((ranks) =>
    (ranks === 1 ? (["pass-kv"] as const) : (["pass-kv", "pass-q"] as const)).map((variant) => ({ ranks, variant }))
  );
  for (const tokens of sizes) {
    progress(`rings at ${tokens} tokens`);
    const input = inputOf({ ...heads, sequences: [{ new: tokens, cached: 0 }] });
    // One kernel for all: the difference is the ring's own cost.
    const kernel = kernelOfCall(bench, operandsOf(input));
    const run = async ({ ranks, variant }: (typeof rings)[number]) => {
      const queue = new Queue();
      const [start, warming] = [performance.now(), bench.warmth?.seconds ?? 0];
      const { spans } = await attendInProcess(
        { ...input, variant },
        ranks,
        (shape, recorder) =>
          new QueuedAttention(queue, bench.warmth, bench.gpu, bench.kernels, bench.pool, shape, recorder, kernel),
      );
      return {
        attend: deviceSeconds(spans, "attend"),
        merge: deviceSeconds(spans, "merge"),
        wall: (performance.now() - start) / 1000 - ((bench.warmth?.seconds ?? 0) - warming),
      };
    };
    // The first run makes buffers.
    const runs = (await interleave(rings, repeats + 1, run, signal)).map((all) => all.slice(1));
    const single = runs[0];
    rings.forEach((ring, i) => {
      const [attend, merge] = [repeatsOf(runs[i].map((r) => r.attend)), repeatsOf(runs[i].map((r) => r.merge))];
      figures.push({
        ...heads,
        tokens,
        ...ring,
        attendSeconds: attend,
        mergeSeconds: merge,
        wallSeconds: repeatsOf(runs[i].map((r) => r.wall)),
        ofSingleCall: median(runs[i].map((r, round) => r.attend / single[round].attend)),
        mergeShare: merge.median / (attend.median + merge.median),
      });
    });
  }
  return figures;
}
