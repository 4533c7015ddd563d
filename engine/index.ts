/** The engine's public face, the same in every runtime; `browser.ts`, `deno.ts` and `node.ts` add the cluster. */

// Runs and sessions: what goes in, what comes out.
export type * from "./cluster/types.ts";
export type { SessionFace as Session } from "./cluster/types.ts";
export type { Dealing, Sequence } from "./layout/shards.ts";
export type { Fault, HaltState } from "./rank/job.ts";
export { InputError, LimitError, NoAdapterError, RankError } from "./errors.ts";
export { kernelNames, type NamedText, type Replacements } from "./gpu/shaders.ts";

// Tensors: storage types, files, seeded inputs.
export { type DType, fromBytes, toBytes } from "./tensor/dtype.ts";
export { readNpy, writeNpy } from "./tensor/npy.ts";
export { readSafetensors, writeSafetensors } from "./tensor/safetensors.ts";
export type { Tensor } from "./tensor/tensor.ts";
export { seededRows, type SeededTensor } from "./tensor/seeded.ts";
export { sayUnderflow } from "./tensor/underflow.ts";

// Checks: float64 attention, the comparison with it, and sampled rows of seeded runs.
export { type KeyRun, reference, type ReferenceInput, type ReferenceOutput } from "./reference/attention.ts";
export { type Check, check, checkAsync, type CheckInput, type Computed, type Judged } from "./reference/check.ts";
export { type Difference, difference } from "./reference/error.ts";
export { F32_TOLERANCE, type Tolerance } from "./reference/tolerance.ts";
export { productsOf } from "./gpu/products.ts";
export { sampleRows } from "./reference/verify/sample.ts";
export type { Recomputation, Row, RowCheck, SeededBatch, Verification, VerifyInput } from "./reference/verify/types.ts";

// The choice of variant, the mask, and the timeline.
export * from "./policy/index.ts";
export { type MaskBlock, type MaskChunk, maskOf, type MaskPicture } from "./ring/mask.ts";
export { type LocalMask, type Mask, readMask, sayMask } from "./layout/mask.ts";
export { chromeTrace } from "./trace/perfetto.ts";
export type { Kind, Lane, Span } from "./trace/span.ts";
