/** Which rows of a result are checked against float64: all of them, or as many as fit a bounded time. */
import { type Experiment, sizeOf } from "./experiment.ts";

/** Floating-point operations that a check may cost: some 20 seconds of plain JavaScript, measured at 0.6 GFLOP/s. */
export const CHECK_BUDGET = 1.2e10;

/**
 * All rows where that fits the budget; else rows at even distances, the first and the last among them (at least 16).
 */
export function rowsToCheck(experiment: Experiment): number[] {
  const { T } = experiment;
  const { flops } = sizeOf(experiment);
  const rows = Math.min(T, Math.max(16, Math.floor((T * CHECK_BUDGET) / flops)));
  return Array.from({ length: rows }, (_, i) => (rows === T ? i : Math.round((i * (T - 1)) / (rows - 1))));
}
