/**
 * The page's door to runs and sessions: the engine's types and the arithmetic of its layout now, the rest of its code
 * once a run needs it.
 */
export type {
  AdapterFacts,
  AttendInput,
  AttendResult,
  Backend,
  CheckInput,
  ClusterFace,
  ClusterOptions,
  DType,
  Fault,
  Halt,
  Held,
  KeyRun,
  Kind,
  Lane,
  Link,
  Made,
  Message,
  Report,
  Row,
  RowCheck,
  SeededBatch,
  Session,
  Span,
  StepReport,
  StepResult,
  Times,
  Variant,
} from "../../engine/browser.ts";
export { productsOf } from "../../engine/gpu/products.ts";
export { readCount, readRate } from "../../engine/quantity.ts";
export { ownerAt } from "../../engine/ring/contract.ts";
export { type MaskBlock, type MaskChunk, maskOf, type MaskPicture } from "../../engine/ring/mask.ts";
export { CAUSAL, isLocal, type Mask, readMask, sayMask, sinkTokensOf } from "../../engine/layout/mask.ts";
export { pairsOfRuns } from "../../engine/layout/pairs.ts";
export type { Dealing } from "../../engine/layout/shards.ts";

/** Loads the engine, a separate chunk, so that the page appears before it. */
export const loadEngine = () => import("../../engine/browser.ts");
