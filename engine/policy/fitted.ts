/** The fitted rule of Appendix D, h(T, P) = alpha log T + beta log(T/(T+P)) + gamma: pass-KV where h > 0. */
import { missRate, type Setting } from "./setting.ts";

/** The three constants, for natural logarithms. */
export interface FittedConstants {
  readonly alpha: number;
  readonly beta: number;
  readonly gamma: number;
}

/**
 * The constants as printed in Appendix D. The base of the logarithm is not printed, and with none of the usual bases do
 * they reproduce Table 4: natural logarithms give pass-Q for all of its rows, log2 too, log10 pass-KV for all. The
 * natural one is used because it is the only one near the boundary (right for T <= 6400). Prefer Algorithm 5, or {@link
 * REFITTED}.
 */
export const PRINTED: FittedConstants = { alpha: -1.059, beta: 1.145, gamma: 12.112 };

/**
 * A refit by {@link refit} on the eleven printed rows of Table 4; a test recomputes it. P + T is 128,000 in every row,
 * so these rows fix the border at one context length alone (T between 6,400 and 12,800): how it moves with T + P is the
 * ridge's choice, not a measurement.
 */
export const REFITTED: FittedConstants = { alpha: 4.9847, beta: 4.9847, gamma: -30.6636 };

/** h(T, P); positive means pass-KV. */
export function fittedRule(step: Pick<Setting, "new" | "cached">, c: FittedConstants): number {
  return c.alpha * Math.log(step.new) + c.beta * Math.log(missRate(step)) + c.gamma;
}

/**
 * The miss rate at which h = 0 for this T: `exp(-(alpha ln T + gamma) / beta)`; above it pass-KV when beta > 0. May
 * exceed 1: never.
 */
export function fittedThreshold(T: number, c: FittedConstants): number {
  return Math.exp(-(c.alpha * Math.log(T) + c.gamma) / c.beta);
}
