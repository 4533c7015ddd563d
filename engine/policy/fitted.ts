/** The fitted rule of Appendix D: pass-KV if h(T, P) = alpha log T + beta log(T/(T+P)) + gamma is above 0. */
import { missRate, type Setting } from "./setting.ts";

/** The three constants, for natural logarithms. */
export interface FittedConstants {
  /** Factor of ln T. */
  readonly alpha: number;
  /** Factor of ln(T/(T+P)). */
  readonly beta: number;
  /** The constant term. */
  readonly gamma: number;
}

/**
 * The constants as printed in Appendix D. The paper doesn't print the base of the logarithm, and no usual base
 * reproduces Table 4. Natural logarithms and log2 give pass-Q for every row; log10 gives pass-KV for every row. We use
 * the natural one, because only it comes near the boundary (it is right for T <= 6400). Prefer Algorithm 5 or
 * {@link REFITTED}.
 */
export const PRINTED: FittedConstants = { alpha: -1.059, beta: 1.145, gamma: 12.112 };

/**
 * A refit by `refit` on the eleven printed rows of Table 4; a test recomputes it. P + T is 128,000 in every row, so
 * these rows fix the border at one context length only (T between 6,400 and 12,800). The ridge, and no measurement,
 * decides how the border moves with T + P.
 */
export const REFITTED: FittedConstants = { alpha: 4.9847, beta: 4.9847, gamma: -30.6636 };

/** h(T, P); positive means pass-KV. */
export function fittedRule(step: Pick<Setting, "new" | "cached">, c: FittedConstants): number {
  return c.alpha * Math.log(step.new) + c.beta * Math.log(missRate(step)) + c.gamma;
}

/**
 * The miss rate at which h = 0 for this T: `exp(-(alpha ln T + gamma) / beta)`. If beta > 0, pass-KV wins above it. A
 * value above 1 means that no step reaches it.
 */
export function fittedThreshold(T: number, c: FittedConstants): number {
  return Math.exp(-(c.alpha * Math.log(T) + c.gamma) / c.beta);
}
