/** The engine's public face, the same in every runtime; `browser.ts`, `deno.ts` and `node.ts` add the cluster. */
export { InputError, LimitError, RankError, type RemoteCode, RemoteError } from "./errors.ts";
export { NoAdapterError } from "./gpu/device.ts";
export { kernelNames } from "./gpu/shaders.ts";
export type * from "./cluster/types.ts";
export type { Fault } from "./rank/job.ts";
export { type Dealing, type Mask, type MaskBlock, type MaskChunk, maskOf } from "./ring/mask.ts";
export type { Sequence } from "./layout/shards.ts";
export { type Check, check, checkAsync, type CheckInput, type Judged } from "./reference/check.ts";
export { type Difference, difference, F32_TOLERANCE, type Tolerance } from "./reference/error.ts";
export { type KeyRun, reference, type ReferenceInput, type ReferenceOutput } from "./reference/attention.ts";
export { decode, type DType, encode } from "./tensor/dtype.ts";
export { readNpy, writeNpy } from "./tensor/npy.ts";
export { readSafetensors, writeSafetensors } from "./tensor/safetensors.ts";
export { sayUnderflow } from "./tensor/underflow.ts";
export { seededRows } from "./tensor/seeded.ts";
export * from "./policy/index.ts";
export type { SessionFace as Session } from "./cluster/types.ts";
export { chromeTrace } from "./trace/perfetto.ts";
export type { Kind, Lane, Span } from "./trace/span.ts";
export { sampleRows } from "../cuda-bridge/client/sample.ts";
export type {
  Facts,
  Remote,
  RemoteClusterFace,
  RemoteOptions,
  RemoteRun,
  Row,
  RowCheck,
  SeededBatch,
  SeededInput,
  SeededResult,
  Verification,
  VerifyInput,
} from "../cuda-bridge/client/types.ts";
