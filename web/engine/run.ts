/**
 * The page's one door to the engine: its types and the arithmetic of its layout now, the rest of its code when a run
 * needs it.
 */
import type { ClusterFace, ClusterOptions } from "../../engine/browser.ts";
import { variants } from "../lib/kept-kernels.ts";

export type {
  AdapterFacts,
  AttendInput,
  AttendResult,
  Backend,
  CheckInput,
  ClusterFace,
  ClusterOptions,
  DType,
  Kind,
  Lane,
  Link,
  RankTraffic,
  Report,
  Row,
  RowCheck,
  SeededBatch,
  Span,
  Times,
  Variant,
} from "../../engine/browser.ts";
export type { Halt, Held, KeyRun, Made, Mail, MailState, Message } from "../../engine/browser.ts";
export type { Fault, Session as CacheSession, SessionRows, StepReport, StepResult } from "../../engine/browser.ts";

export { type Dealing, type Mask, type MaskBlock, type MaskChunk, maskOf } from "../../engine/ring/mask.ts";
export { productsOf } from "../../engine/gpu/products.ts";
export { ownerAt } from "../../engine/ring/contract.ts";
export { readCount, readRate } from "../../engine/quantity.ts";

/**
 * Loads the engine: a chunk of its own, so that the page is there before it. Ranks that are started through it run the
 * visitor's chosen kernels.
 */
export async function loadEngine() {
  const engine = await import("../../engine/browser.ts");
  const start = (options: ClusterOptions): Promise<ClusterFace> => {
    const own = Object.entries(variants.shaders).filter(([kernel]) => engine.kernelNames.includes(kernel));
    const shaders = options.backend === "cpu" ? undefined : { ...Object.fromEntries(own), ...options.shaders };
    return engine.Cluster.start({ ...options, shaders });
  };
  return { ...engine, Cluster: { start } };
}
