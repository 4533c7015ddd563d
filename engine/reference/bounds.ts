/**
 * Bounds of rounding errors in a correct result, for each LSE and each element of O, from float64 values of the row
 * itself.
 *
 * u = 2^-24 is the unit of f32, p the exact softmax weights, s the scores, n the keys of the row, N the merged partial
 * results.
 *
 * Sums of n roundings without a common direction grow as sqrt(n) (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019).
 * D equal products, added one after the other, round by at most D/3 in one direction (1/4 + 1/16 + ... over the powers of
 * two).
 *
 * - A score is a sum of D products, which sum to at most |q| |k_j| |scale| (Cauchy-Schwarz). Its weight is an
 *   exponential whose argument and result are rounded (WGSL allows exp2(x) 3 + 2 |x| units in the last place). Each
 *   merge rounds an LSE and two exponentials more. Let S_j = |LSE| + (LSE - s_j), which is at least |s_j| and the LSE of
 *   any partial result with j. Then a weight is off by a factor between e^-b_j and e^b_j:
 *
 *       b_j = u (g |q| |k_j| |scale| + (4 + 2 sqrt(N)) S_j + 16),  g = max(3 sqrt(D), D/3) + 4
 *
 * - Weights off by such factors move LSE by at most log(sum_j p_j e^b_j). They are normalised, so they move O by at most
 *   sum_j p_j (e^b_j - 1) |v_j - O| / sum_j p_j e^-b_j. A key that has all the weight moves nothing.
 * - The sums over keys and the merges round numbers of up to sum_j p_j |v_j| <= sum_j p_j |v_j - O| + |O|, by a relative
 *   error of
 *
 *       c = u (8 + 2 sqrt(n) + 4 sqrt(N))
 *
 * - A sink is one more key, whose value is 0, with its logit as an exact score.
 * - Numbers that f32 flushes to zero, or holds with fewer digits, are below 2^-126 each.
 *
 * A kernel that multiplies in f16 rounds queries and weights by 2^-11 more each.
 */
import { ROUNDING } from "../tensor/dtype.ts";
import { isPrefixOfK, valueHead } from "../tensor/heads.ts";
import type { ExactHead, ReferenceInput } from "./attention.ts";

const UNIT = ROUNDING.f32;
/** Smallest normal f32. */
const TINY = 2 ** -126;

/** How a result was computed. */
export interface Arithmetic {
  /** N: the partial results merged into a row, so a cluster's ranks. Default 64, the most ranks. */
  readonly ranks?: number;
  /** The type of the products' operands; default "f32". */
  readonly products?: "f32" | "f16";
}

/**
 * Computes the bounds of one query row and head at a time. `input` has the operands as the wire rounded them.
 */
export class Bounds {
  /** The bounds of O of the last head, Dv elements. */
  readonly out: Float64Array;
  readonly #input: ReferenceInput;
  readonly #scale: number;
  readonly #merges: number;
  readonly #product: number;
  /** |k_j| by row of K and KV head. */
  readonly #norms: Float64Array;
  readonly #largest: number;
  readonly #off: Float64Array;

  constructor(input: ReferenceInput, { ranks = 64, products = "f32" }: Arithmetic) {
    const { k, headDim: D } = input;
    this.#input = input;
    this.#scale = Math.abs(input.scale ?? 1 / Math.sqrt(D));
    this.#merges = Math.sqrt(ranks);
    this.#product = products === "f16" ? ROUNDING.f16 : 0;
    this.#norms = norms(k, D);
    this.#largest = largestOf(isPrefixOfK(input.v) ? k : input.v);
    this.out = new Float64Array(valueHead(input).valueDim);
    this.#off = new Float64Array(Math.max(0, ...input.sequences.map((s) => s.new + s.cached)));
  }

  /** Bounds the head that `head` attended last, of query row `row`. Returns the bound of its LSE. */
  take(head: ExactHead, row: number, h: number, lse: number): number {
    const { q, heads, kvHeads, headDim: D } = this.#input;
    const kvHead = head.kvHead(h);
    const query = norm(q, (row * heads + h) * D, D) * this.#scale;
    const perKey = query * ((Math.max(3 * Math.sqrt(D), D / 3) + 4) * UNIT + this.#product);
    const perScore = (4 + 2 * this.#merges) * UNIT;
    const n = head.ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    const sums = UNIT * (8 + 2 * Math.sqrt(n) + 4 * this.#merges) + 2 * this.#product;
    this.out.fill(0);
    if (n === 0) return sums * Math.abs(head.sinkWeight === 0 ? 0 : lse);
    let [most, least] = [0, 0];
    for (const { from, to } of head.ranges) {
      for (let j = from; j < to; j++) {
        const p = head.weights[j];
        const b = perKey * this.#norms[(head.first + j) * kvHeads + kvHead] +
          perScore * (Math.abs(lse) + lse - head.scores[j]) +
          16 * UNIT;
        // Cheap bounds of e^b - 1 and e^-b near 0.
        const grown = p * (b < 1 ? b + b * b : Math.expm1(b));
        most += grown;
        least += p * (b < 0.5 ? 1 - b : Math.exp(-b));
        this.#off[j] = grown + p * sums;
      }
      const { values, valueRow } = head;
      const [stride, start] = [kvHeads * valueRow, (head.first * kvHeads + kvHead) * valueRow];
      spread(this.#off, values, start, stride, from, to, head.out, this.out);
    }
    if (head.sinkWeight > 0) {
      // The sink is a key of value 0 whose score is exact; a merge rounds it.
      const b = perScore * (Math.abs(lse) + Math.abs(Math.log(head.sinkWeight))) + 16 * UNIT;
      const grown = head.sinkWeight * Math.expm1(b);
      most += grown;
      least += head.sinkWeight * Math.exp(-b);
      for (let d = 0; d < this.out.length; d++) this.out[d] += (grown + head.sinkWeight * sums) * Math.abs(head.out[d]);
    }
    const flushed = TINY * (1 + n * this.#largest);
    for (let d = 0; d < this.out.length; d++) {
      this.out[d] = this.out[d] / least + sums * Math.abs(head.out[d]) + flushed;
    }
    return Math.log1p(most) + sums + n * TINY;
  }
}

/** Adds w_j |v_j - O| of the keys `from` to before `to` to `sum`, four keys at a time. */
function spread(
  w: Float64Array,
  v: Float32Array,
  start: number,
  stride: number,
  from: number,
  to: number,
  out: Float64Array,
  sum: Float64Array,
): void {
  const D = out.length;
  let j = from;
  for (; j + 3 < to; j += 4) {
    const w0 = w[j], w1 = w[j + 1], w2 = w[j + 2], w3 = w[j + 3];
    if (w0 + w1 + w2 + w3 === 0) continue;
    const a = start + j * stride, b = a + stride, c = b + stride, e = c + stride;
    for (let d = 0; d < D; d++) {
      const o = out[d];
      sum[d] += w0 * Math.abs(v[a + d] - o) + w1 * Math.abs(v[b + d] - o) + w2 * Math.abs(v[c + d] - o) +
        w3 * Math.abs(v[e + d] - o);
    }
  }
  for (; j < to; j++) {
    for (let d = 0, at = start + j * stride, x = w[j]; d < D; d++) sum[d] += x * Math.abs(v[at + d] - out[d]);
  }
}

/** Lengths of the vectors of D elements that lie one after the other. */
function norms(x: Float32Array, D: number): Float64Array {
  return Float64Array.from({ length: x.length / D }, (_, i) => norm(x, i * D, D));
}

function norm(x: Float32Array, at: number, D: number): number {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += x[at + d] * x[at + d];
  return Math.sqrt(sum);
}

function largestOf(x: Float32Array): number {
  let max = 0;
  for (let i = 0; i < x.length; i++) max = Math.max(max, Math.abs(x[i]));
  return max;
}
