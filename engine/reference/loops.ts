/** The two inner loops of float64 attention: a query's scores with keys, and the weighted sum of their values. */

/**
 * Writes the scores of one query with the keys `from` to before `to`; returns the largest. Key j's row of K begins at
 * `start + j * stride`. Four keys at a time: an element of q is loaded once for four.
 */
export function score(
  q: Float64Array,
  k: Float32Array,
  start: number,
  stride: number,
  from: number,
  to: number,
  scale: number,
  scores: Float64Array,
): number {
  const D = q.length;
  let max = -Infinity;
  let j = from;
  for (; j + 3 < to; j += 4) {
    const a = start + j * stride, b = a + stride, c = b + stride, e = c + stride;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let d = 0; d < D; d++) {
      const x = q[d];
      s0 += x * k[a + d];
      s1 += x * k[b + d];
      s2 += x * k[c + d];
      s3 += x * k[e + d];
    }
    scores[j] = s0 * scale;
    scores[j + 1] = s1 * scale;
    scores[j + 2] = s2 * scale;
    scores[j + 3] = s3 * scale;
    max = Math.max(max, scores[j], scores[j + 1], scores[j + 2], scores[j + 3]);
  }
  for (; j < to; j++) {
    let s = 0;
    for (let d = 0, at = start + j * stride; d < D; d++) s += q[d] * k[at + d];
    scores[j] = s * scale;
    max = Math.max(max, scores[j]);
  }
  return max;
}

/**
 * Adds the values of these keys to `out`, each times its weight exp(score - max). Writes the weights, which may take the
 * place of the scores, and returns their sum.
 */
export function weigh(
  scores: Float64Array,
  max: number,
  v: Float32Array,
  start: number,
  stride: number,
  from: number,
  to: number,
  weights: Float64Array,
  out: Float64Array,
): number {
  const D = out.length;
  let sum = 0;
  for (let j = from; j < to; j++) sum += weights[j] = Math.exp(scores[j] - max);
  let j = from;
  for (; j + 3 < to; j += 4) {
    const a = start + j * stride, b = a + stride, c = b + stride, e = c + stride;
    const p0 = weights[j], p1 = weights[j + 1], p2 = weights[j + 2], p3 = weights[j + 3];
    for (let d = 0; d < D; d++) out[d] += p0 * v[a + d] + p1 * v[b + d] + p2 * v[c + d] + p3 * v[e + d];
  }
  for (; j < to; j++) for (let d = 0, at = start + j * stride, p = weights[j]; d < D; d++) out[d] += p * v[at + d];
  return sum;
}
