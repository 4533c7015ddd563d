/** The door of the check's worker: what reads the files and compares. */
import type { GpuPlatform } from "../../engine/gpu/platform.ts";
import { readShaders } from "../../engine/gpu/shaders.ts";

export { InputError, NoAdapterError } from "../../engine/errors.ts";
export { type Attenders, attenders } from "../../engine/reference/compare/attender.ts";
export { compare } from "../../engine/reference/compare/compare.ts";
export { rowHops } from "../../engine/reference/compare/hops.ts";
export { operandsOf, sequencesFor } from "../../engine/reference/compare/operands.ts";
export type { Problem } from "../../engine/reference/compare/problem.ts";
export { Setting } from "../../engine/reference/compare/setting.ts";
export { piecesOf, type TheirKind, type TheirTensors } from "../../engine/reference/compare/theirs.ts";
export { type DType, ROUNDING } from "../../engine/tensor/dtype.ts";
export { type Named, namedIn, namesIn, refuseTorch } from "../../engine/tensor/named.ts";

/** This browser's adapter, for a worker. */
export const platform: GpuPlatform = {
  runtime: "browser",
  shaders: () => readShaders(async (url) => await (await fetch(url)).text()),
  threadGpu: () => Promise.resolve({ gpu: (navigator as { gpu?: GPU }).gpu, blockingCompile: false }),
};

export { type KinetoTrace, readKineto } from "../../engine/trace/kineto.ts";
export { readHops } from "../../engine/trace/hops.ts";
export { requireOneEach, textOf } from "../../engine/trace/traces.ts";
