/** Fits the rule h(T, P) to measured points by weighted ridge logistic regression on ln T and ln(T/(T+P)). */
import { InputError } from "../errors.ts";
import type { FittedConstants } from "./fitted.ts";
import { missRate } from "./setting.ts";

/** One step, with the time of each variant. */
export interface MeasuredPoint {
  /** T. */
  readonly new: number;
  /** P. */
  readonly cached: number;
  /** Seconds, or any unit that both share. */
  readonly passKv: number;
  /** In the unit of `passKv`. */
  readonly passQ: number;
}

/** Constants, and how far the points determine them. */
export interface Refit extends FittedConstants {
  /**
   * False if ln T and ln(T/(T+P)) are collinear over the points, as with one T+P throughout. The ridge then splits the
   * slope.
   */
  readonly determined: boolean;
  /** Points on the wrong side of h = 0. */
  readonly wrong: readonly MeasuredPoint[];
}

const RIDGE = 1e-3;
const STEPS = 100;

/**
 * Maximises `sum w ln sigmoid(+-h) - RIDGE (alpha^2 + beta^2) / 2` by Newton steps, where w is |ln(passQ/passKv)| over
 * its mean. A point thus counts by how much its choice matters. Without the ridge, separable points would push the
 * constants to infinity. Errors: InputError if there are fewer than two points or only one variant wins.
 */
export function refit(points: readonly MeasuredPoint[]): Refit {
  const wins = points.filter((p) => p.passKv < p.passQ).length;
  if (points.length < 2 || wins === 0 || wins === points.length) {
    throw new InputError(
      `refit: found ${points.length} points, and pass-KV wins ${wins} of them; expected each variant to win at least one`,
    );
  }
  const xs = points.map((p) => [Math.log(p.new), Math.log(missRate(p)), 1]);
  const ys = points.map((p) => (p.passKv < p.passQ ? 1 : 0));
  const gains = points.map((p) => Math.abs(Math.log(p.passQ / p.passKv)));
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
  const weights = gains.map((gain) => gain / mean);
  const middle = [0, 1].map((i) => xs.reduce((sum, x) => sum + x[i], 0) / xs.length);
  const centred = xs.map((x) => [x[0] - middle[0], x[1] - middle[1], 1]);
  let w = [0, 0, 0];
  for (let step = 0; step < STEPS; step++) {
    const gradient = [-RIDGE * w[0], -RIDGE * w[1], 0];
    const hessian = [[RIDGE, 0, 0], [0, RIDGE, 0], [0, 0, 1e-12]];
    centred.forEach((x, p) => {
      const chance = 1 / (1 + Math.exp(-dot(w, x)));
      const curve = weights[p] * chance * (1 - chance);
      for (let i = 0; i < 3; i++) {
        gradient[i] += weights[p] * (ys[p] - chance) * x[i];
        for (let j = 0; j < 3; j++) hessian[i][j] += curve * x[i] * x[j];
      }
    });
    const move = solve(hessian, gradient);
    const length = Math.hypot(...move);
    const scale = Math.min(1, 2 / length);
    w = w.map((value, i) => value + scale * move[i]);
    if (length < 1e-10) break;
  }
  const constants = { alpha: w[0], beta: w[1], gamma: w[2] - w[0] * middle[0] - w[1] * middle[1] };
  const wrong = points.filter((_, p) => dot(w, centred[p]) > 0 !== (ys[p] === 1));
  return { ...constants, determined: spread(centred) > 1e-6, wrong };
}

/** The share of the two features' variance that is off their common line; 0 if they are collinear. */
function spread(xs: readonly (readonly number[])[]): number {
  const [a, b, c] = [[0, 0], [0, 1], [1, 1]].map(([i, j]) => xs.reduce((sum, x) => sum + x[i] * x[j], 0));
  return (a * c - b * b) / Math.max(Number.MIN_VALUE, (a + c) ** 2);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** Solves a small symmetric positive-definite system by Gaussian elimination with pivoting. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    const pivot = rows.slice(i).reduce(
      (best, row, at) => (Math.abs(row[i]) > Math.abs(rows[best][i]) ? at + i : best),
      i,
    );
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let r = i + 1; r < n; r++) {
      const factor = rows[r][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[r][c] -= factor * rows[i][c];
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    x[i] = (rows[i][n] - rows[i].slice(i + 1, n).reduce((sum, value, j) => sum + value * x[i + 1 + j], 0)) / rows[i][i];
  }
  return x;
}
