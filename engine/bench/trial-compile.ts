/** Whether a text is a kernel that the host can run: what the compiler says, and how its bindings fit the host's. */
import type { Gpu } from "../gpu/device.ts";
import { type AttendShape, isMergeKernel } from "../gpu/kernels.ts";
import type { Kernels } from "../gpu/pipelines.ts";
import { declarationsOf } from "../gpu/reflect.ts";
import { specialise } from "../gpu/specialise.ts";
import { STORAGE, UNIFORM } from "../gpu/usage.ts";
import { attentionKernel } from "./texts.ts";

/** What the compiler says, or the host that binds the kernel. */
export interface Message {
  readonly kind: "error" | "warning" | "info";
  /** From 1; 0 if it is about no line. */
  readonly line: number;
  /** From 1, in UTF-16 units; 0 with no line. */
  readonly column: number;
  /** Length of the place it is about, in UTF-16 units; may be 0. */
  readonly length: number;
  readonly message: string;
}

/** A text that stands in for a shipped kernel. */
export interface TrialText {
  readonly name: string;
  readonly text: string;
  /** The shipped text. */
  readonly shipped: string;
  /** The pipelines of a device with the text in place of the shipped one. */
  readonly kernels: Kernels;
}

/** What the compiler says of a text. `at`: added to each message. */
export async function compilerMessages({ device }: Gpu, code: string, at = ""): Promise<readonly Message[]> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const refused = await device.popErrorScope();
  const said = messages.map(({ type, lineNum, linePos, length, message }): Message => ({
    kind: type,
    line: lineNum,
    column: linePos,
    length,
    message: `${message}${at}`,
  }));
  return refused === null || said.some(({ kind }) => kind === "error")
    ? said
    : [...said, about(`${refused.message}${at}`)];
}

/** The errors among them. */
export const errorsAmong = (messages: readonly Message[]): readonly Message[] =>
  messages.filter(({ kind }) => kind === "error");

/**
 * Makes the pipeline for a shape, and a bind group of the host's bindings. Resolves to what is wrong. `at`: names the
 * shape in messages.
 */
export async function pipelineErrors(
  gpu: Gpu,
  trial: TrialText,
  shape: AttendShape | undefined,
  at: string,
): Promise<readonly Message[]> {
  const { text } = trial;
  let code = text;
  try {
    if (shape !== undefined) code = specialise(text, shape);
  } catch (error) {
    return [about(error instanceof Error ? error.message : String(error))];
  }
  if (shape !== undefined) {
    const errors = errorsAmong(await compilerMessages(gpu, code, at));
    if (errors.length > 0) return errors;
  }
  const shipped = declarationsOf(trial.shipped);
  const own = declarationsOf(text);
  const entryPoint = shipped.entries[0].name;
  const entry = own.entries.find((entry) => entry.name === entryPoint);
  if (entry === undefined) {
    const found = own.entries.map((entry) => entry.name).join(", ") || "no entry point";
    return [about(`found ${found}, expected the entry point ${entryPoint}: the host calls it by that name`)];
  }
  const missing = shipped.bindings.filter((b) =>
    !own.bindings.some((o) => o.group === b.group && o.binding === b.binding)
  );
  if (missing.length > 0) {
    return missing.map((b) =>
      about(`binding ${b.binding} (${b.name}) is missing: the host gives it, so the kernel has to declare and use it`)
    );
  }
  let pipeline: GPUComputePipeline;
  try {
    pipeline = await pipelineOf(gpu, trial, shape, entryPoint, code);
  } catch (error) {
    const message = `${error instanceof Error ? error.message : String(error)}${at}`;
    return [{ ...about(message), line: entry.line, column: 1 }];
  }
  const refused = await bindingRefusal(gpu, pipeline, shipped.bindings.map(({ binding }) => binding));
  if (refused === undefined) return [];
  const bindings = shipped.bindings.map((b) => `${b.binding} ${b.name}`).join(", ");
  return [
    about(
      `the host's bindings ${bindings} do not fit ` +
        `(a binding that is declared but not used is not part of a pipeline): ${refused}`,
    ),
  ];
}

async function pipelineOf(
  { device }: Gpu,
  { name, kernels }: TrialText,
  shape: AttendShape | undefined,
  entryPoint: string,
  code: string,
): Promise<GPUComputePipeline> {
  const kernel = attentionKernel(name);
  if (kernel !== undefined) return await kernels.attend(kernel, shape!);
  if (isMergeKernel(name)) return await kernels.merge(name);
  const module = device.createShaderModule({ code });
  return await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint } });
}

/** Why a pipeline takes no bind group of these bindings; undefined if it does. */
async function bindingRefusal(
  { device }: Gpu,
  pipeline: GPUComputePipeline,
  bindings: readonly number[],
): Promise<string | undefined> {
  // Larger than the least size of every binding.
  const buffer = device.createBuffer({ size: 4096, usage: UNIFORM | STORAGE });
  device.pushErrorScope("validation");
  device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: bindings.map((binding) => ({ binding, resource: { buffer } })),
  });
  const refused = await device.popErrorScope();
  buffer.destroy();
  return refused?.message;
}

/** An error about no line. */
export function about(message: string): Message {
  return { kind: "error", line: 0, column: 0, length: 0, message };
}
