/** Chapter 7: a conversation on ranks in this thread. The deal, the caches and the ring programs are the engine's. */
import {
  type Block,
  block,
  count,
  CpuAttention,
  CpuPagePool,
  dealDecode,
  dealPrefill,
  headTail,
  KvCache,
  localRings,
  type Range,
  type RankChunk,
  rankChunk,
  Recorder,
  reference,
  runStep,
} from "../../../engine/learn.ts";
import type { Variant } from "../../../engine/run.ts";
import { D, shapeOf, small } from "./small.ts";

/** One step of the conversation. */
export interface ConversationStep {
  readonly mode: "prefill" | "decode";
  readonly turn: number;
  /** T and P of the step. */
  readonly fresh: number;
  readonly cached: number;
  readonly variant: Variant;
  /** In a decode step, the rank that gets the new token. */
  readonly owner?: number;
  /** Query rows that the ring computes on all ranks, padding included. */
  readonly rows: number;
  /** Tokens on each rank after the step. */
  readonly held: readonly number[];
  /** The same if prompts were always dealt head-tail, as in the paper, and every reply went to rank 0. */
  readonly fixed: readonly number[];
  /** Largest error of O in this step, against float64. */
  readonly error: number;
}

/** Turns of a prompt and a reply: one prefill by pass-KV, then one decode step per token of the reply. */
export async function conversation(
  seed: number,
  ranks: number,
  turns: number,
  prompt: number,
  reply: number,
): Promise<ConversationStep[]> {
  const total = turns * (prompt + reply);
  const whole = small(seed, [{ new: total, cached: 0 }]);
  const exact = reference(whole);
  const shape = shapeOf(whole);
  const caches = Array.from({ length: ranks }, (_, k) => {
    const pages = Math.ceil(total / 64) + 1;
    return new KvCache(k, pages, new CpuPagePool(pages, [D, D], "f32"));
  });
  const held = () => caches.map(({ pages }) => count(pages.ranges(0)));
  const fixed = new Array<number>(ranks).fill(0);
  const steps: ConversationStep[] = [];
  let length = 0;
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i <= reply; i++) {
      const mode = i === 0 ? "prefill" : "decode";
      const fresh = i === 0 ? prompt : 1;
      const owner = mode === "decode" ? dealDecode([held()], steps.length)[0] : undefined;
      const ranges: Range[][] = owner === undefined
        ? dealPrefill(fresh, length, held())
        : caches.map((_, k) => (k === owner ? [{ start: length, end: length + 1 }] : []));
      if (owner === undefined) fixed.forEach((_, k) => (fixed[k] += count(headTail(fresh, ranks, k))));
      else fixed[0]++;
      const rows = Math.max(...ranges.map(count));
      const variant: Variant = mode === "prefill" ? "pass-kv" : "pass-q";
      const after = held().map((n, k) => n + count(ranges[k]));
      const results = await Promise.all(
        localRings<RankChunk>(ranks).map((ring, k) => {
          const own: Block = { runs: block([ranges[k]]).runs, rows };
          const appends = count(ranges[k]) === 0
            ? []
            : [{ sequence: 0, ranges: ranges[k], data: keysOf(whole.k, whole.v, ranges[k]) }];
          const job = {
            variant,
            q: rankChunk(k, own, queriesOf(whole.q, own)),
            appends,
            sequences: [0],
            lengths: [Math.max(...after)],
            shape,
            id: 0,
            origin: 0,
            session: 0,
          };
          for (const rows of appends) caches[k].append(rows);
          return runStep(job, ring, new CpuAttention(shape, new Recorder(k, 0)), caches[k]);
        }),
      );
      let error = 0;
      results.forEach((data, k) => {
        const o = new Float32Array(data);
        let row = 0;
        for (const { start, end } of ranges[k]) {
          for (let t = start; t < end; t++, row++) {
            for (let d = 0; d < D; d++) error = Math.max(error, Math.abs(o[row * D + d] - exact.out[t * D + d]));
          }
        }
      });
      for (const { pages } of caches) pages.commit();
      steps.push({
        mode,
        turn,
        fresh,
        cached: length,
        variant,
        ...(owner === undefined ? {} : { owner }),
        rows: rows * ranks,
        held: held(),
        fixed: [...fixed],
        error,
      });
      length += fresh;
    }
  }
  return steps;
}

function queriesOf(q: Float32Array, { runs, rows }: Block): ArrayBuffer {
  const out = new Float32Array(rows * D);
  for (const { start, length, row } of runs) out.set(q.subarray(start * D, (start + length) * D), row * D);
  return out.buffer;
}

function keysOf(k: Float32Array, v: Float32Array, ranges: readonly Range[]): ArrayBuffer {
  const parts = [k, v].flatMap((from) => ranges.map(({ start, end }) => from.subarray(start * D, end * D)));
  const out = new Float32Array(2 * count(ranges) * D);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out.buffer;
}
