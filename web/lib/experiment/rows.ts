/** Which rows of a result to check against float64: all, or as many as fit a bounded time. */
import { type Experiment, sizeOf } from "./experiment.ts";

/** The most floating-point operations of a check: some 20 s of plain JavaScript, measured at 0.6 GFLOP/s. */
export const CHECK_BUDGET = 1.2e10;

/** All rows if they fit the budget, or else at least 16 evenly spaced rows, with the first and the last. */
export function rowsToCheck(experiment: Experiment): number[] {
  const { T } = experiment;
  const { flops } = sizeOf(experiment);
  const rows = Math.min(T, Math.max(16, Math.floor((T * CHECK_BUDGET) / flops)));
  return Array.from({ length: rows }, (_, i) => (rows === T ? i : Math.round((i * (T - 1)) / (rows - 1))));
}
