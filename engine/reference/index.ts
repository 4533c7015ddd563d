/** The reference's public face: attention in float64, and the check of a result with a bound for each element. */
export { type KeyRun, reference, type ReferenceInput, type ReferenceOutput } from "./attention.ts";
export type { Arithmetic } from "./bounds.ts";
export {
  type Check,
  check,
  checkAsync,
  type CheckInput,
  type Computed,
  type ExpectedRow,
  type Judged,
  type RowValues,
} from "./check.ts";
export { type Difference, difference } from "./error.ts";
export { F32_TOLERANCE, type Tolerance } from "./tolerance.ts";
