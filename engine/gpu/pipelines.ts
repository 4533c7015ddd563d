/** The kernels of one device: their texts made into pipelines, and what the device's calls have shown of them. */
import { InputError } from "../errors.ts";
import {
  type AttendShape,
  type DeviceFacts,
  isPieceKernel,
  isTileKernel,
  type KernelName,
  kernelName,
  type MergeKernelName,
} from "./kernels.ts";
import { Pace } from "./pace.ts";
import type { GivenTexts } from "./shaders.ts";
import { specialise } from "./specialise.ts";
import { Tuner } from "./tuner.ts";
import { unrolled } from "./unroll.ts";

/** The pipelines of one device, compiled on first use and kept. */
export class Kernels {
  /** The rate that sizes submissions. */
  readonly pace = new Pace();
  /** Pipelines that have run: some drivers (lavapipe) compile at the first dispatch. */
  readonly ran = new WeakSet<GPUComputePipeline>();
  /** Finds the fastest of the kernels that suit. Undefined if the first of them always runs. */
  readonly tuner: Tuner | undefined;
  /** Kernels whose text the caller gave in place of the shipped one. */
  readonly given: NonNullable<GivenTexts["given"]>;
  /** Seconds spent compiling so far. */
  compileSeconds = 0;
  readonly #device: GPUDevice;
  readonly #texts: GivenTexts;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #work = new Map<string, number>();

  #checked: Promise<void> | undefined;

  readonly #blocking: boolean;
  readonly #written: (text: string) => string;

  /**
   * `blocking` compiles on the calling thread: in Node, Dawn spins an idle thread while it waits, so that four waiting
   * ranks took 8.3 s on two cores and four blocked ones 3.1 s.
   * `tune` tries the kernels that suit the device on the work itself and keeps the fastest (see Tuner).
   */
  constructor(
    { device, facts }: { readonly device: GPUDevice; readonly facts: DeviceFacts["facts"] },
    texts: GivenTexts,
    blocking = false,
    tune = false,
  ) {
    this.given = texts.given ?? [];
    // Whoever gave a text wants it to run, not a shipped one that is faster.
    this.tuner = tune && this.given.length === 0 ? new Tuner() : undefined;
    this.#device = device;
    // Hardware gains by unrolling; a software adapter would pay more in compilation.
    this.#written = facts.software ? (text) => text : unrolled;
    this.#texts = texts;
    this.#blocking = blocking;
  }

  /** FLOPs counted so far for a head size and storage types. */
  work(shape: AttendShape): number {
    return this.#work.get(workKey(shape)) ?? 0;
  }

  /** Adds FLOPs to the total of a head size and storage types. Returns the new total. */
  count(shape: AttendShape, flops: number): number {
    const work = this.work(shape) + flops;
    this.#work.set(workKey(shape), work);
    return work;
  }

  /** The pipeline of an attention kernel. Errors: InputError if a given text is no kernel. */
  async attend(name: KernelName, shape: AttendShape): Promise<GPUComputePipeline> {
    if (this.given.length > 0) await this.#checkGiven(shape);
    return await this.#get(
      kernelName(name, shape),
      isPieceKernel(name) ? "decode" : "attend",
      () => this.#written(specialise(this.#texts[name], shape)),
    );
  }

  /** The pipeline of a merge kernel. */
  merge(name: MergeKernelName): Promise<GPUComputePipeline> {
    return this.#get(name, "merge", () => this.#texts[name]);
  }

  /** The pipeline of seeded.wgsl. */
  seeded(): Promise<GPUComputePipeline> {
    return this.#get("seeded", "seeded", () => this.#texts.seeded);
  }

  /**
   * Resolves when no compilation is under way: a Node worker that ends while Dawn owes it an answer takes the process
   * down.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pipelines.values());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Compiles every given text, even those that won't run. InputError for one that is no kernel. */
  #checkGiven(shape: AttendShape): Promise<void> {
    return (this.#checked ??= (async () => {
      for (const name of this.given) {
        const attention = isPieceKernel(name) || isTileKernel(name);
        try {
          const code = attention ? specialise(this.#texts[name], shape) : this.#texts[name];
          const { errors } = await this.#module(name, code);
          if (errors !== undefined) throw new Error(`it does not compile: ${errors}`);
        } catch (error) {
          throw new InputError(
            `shaders: the text given for "${name}" cannot run: ${
              (error as Error).message
            }; expected WGSL as in shaders/${name}.wgsl`,
          );
        }
      }
    })());
  }

  /** A module and the errors in its text, which don't count as errors of the device. */
  async #module(
    label: string,
    code: string,
  ): Promise<{ readonly module: GPUShaderModule; readonly errors: string | undefined }> {
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label, code });
    const scope = this.#device.popErrorScope();
    const errors = await errorsOf(module);
    return { module, errors: errors ?? (await scope)?.message };
  }

  #get(key: string, entryPoint: string, text: () => string): Promise<GPUComputePipeline> {
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(entryPoint, text());
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  async #compile(entryPoint: string, code: string): Promise<GPUComputePipeline> {
    const start = performance.now();
    const { module, errors } = await this.#module(entryPoint, code);
    if (errors !== undefined) throw new Error(`${entryPoint}.wgsl does not compile: ${errors}`);
    const descriptor: GPUComputePipelineDescriptor = {
      label: entryPoint,
      layout: "auto",
      compute: { module, entryPoint },
    };
    const pipeline = this.#blocking
      ? this.#device.createComputePipeline(descriptor)
      : await this.#device.createComputePipelineAsync(descriptor);
    this.compileSeconds += (performance.now() - start) / 1000;
    return pipeline;
  }
}

const workKey = ({ headDim, valueDim = headDim, q, kv }: AttendShape): string => [headDim, valueDim, q, kv].join(" ");

/** What the compiler complains about; undefined if nothing. */
async function errorsOf(module: GPUShaderModule): Promise<string | undefined> {
  const errors = (await module.getCompilationInfo()).messages.filter((m) => m.type === "error");
  return errors.length === 0 ? undefined : errors.map((m) => `line ${m.lineNum}:${m.linePos} ${m.message}`).join("; ");
}
