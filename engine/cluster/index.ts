/**
 * The room's public face for what stands in for a cluster on another machine: the cluster's types, and the validation
 * of its inputs.
 */
export type * from "./types.ts";
export {
  type Elsewhere,
  validateAttend,
  validateRows,
  validateScale,
  validateSeeded,
  validateSession,
  validateStep,
} from "./validate.ts";
export { validateLink } from "./link.ts";
export { refuseUnknown } from "../options.ts";
