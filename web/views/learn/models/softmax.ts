/** Chapter 1: softmax of one row of scores, key by key, with a running maximum, and without one in f32. */
import { reference } from "../../../engine/learn.ts";
import { D, small } from "./small.ts";

/** The running values after one key. */
export interface Read {
  /** Score of this key, `q·k/√D`, plus the shift. */
  readonly score: number;
  /** First element of its value row. */
  readonly value: number;
  /** m: largest score so far. */
  readonly max: number;
  /** exp(m before - m now): the factor of the sums so far. */
  readonly rescale: number;
  /** exp(score - m): this key's weight before division by the sum. */
  readonly weight: number;
  /** l: sum of the weights. */
  readonly sum: number;
  /** First element of the output, divided by l. */
  readonly out: number;
  /** log l + m. */
  readonly lse: number;
}

/** The whole row, key by key. */
export interface RunningSoftmax {
  readonly reads: readonly Read[];
  /** float64 attention over the same keys. */
  readonly exact: { readonly out: number; readonly lse: number };
  /** exp without a maximum in f32: sum and first element of the output. */
  readonly naive: { readonly sum: number; readonly out: number };
  /** The largest x for which exp(x) is finite in f32. */
  readonly limit: number;
}

/** One query over `keys` seeded keys, with `shift` added to every score. */
export function runningSoftmax(seed: number, keys: number, shift: number): RunningSoftmax {
  const whole = small(seed, [{ new: 1, cached: keys - 1 }]);
  const reads: Read[] = [];
  let max = -Infinity;
  let sum = 0;
  let acc = 0;
  const f32 = { sum: 0, acc: 0 };
  for (let j = 0; j < keys; j++) {
    // The LSE over a single key is its score.
    const alone = reference({
      ...whole,
      k: whole.k.subarray(j * D, (j + 1) * D),
      v: whole.v.subarray(j * D, (j + 1) * D),
      sequences: [{ new: 1, cached: 0 }],
    });
    const score = alone.lse[0] + shift;
    const value = whole.v[j * D];
    const higher = Math.max(max, score);
    const rescale = Math.exp(max - higher);
    const weight = Math.exp(score - higher);
    max = higher;
    sum = sum * rescale + weight;
    acc = acc * rescale + weight * value;
    reads.push({ score, value, max, rescale, weight, sum, out: acc / sum, lse: max + Math.log(sum) });
    const plain = Math.fround(Math.exp(Math.fround(score)));
    f32.sum = Math.fround(f32.sum + plain);
    f32.acc = Math.fround(f32.acc + Math.fround(plain * value));
  }
  const exact = reference(whole);
  return {
    reads,
    exact: { out: exact.out[0], lse: exact.lse[0] + shift },
    naive: { sum: f32.sum, out: Math.fround(f32.acc / f32.sum) },
    limit: Math.log(3.4028234663852886e38),
  };
}
