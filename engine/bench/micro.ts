/** The micro-kernels: their texts, their pipelines, and the time of one dispatch. */
import type { Gpu } from "../gpu/device.ts";
import { COPY_DST, COPY_SRC, MAP_READ, QUERY_RESOLVE, READ } from "../gpu/usage.ts";

/** Addresses of the micro-kernels' texts, by name. */
export const microUrls = {
  dot: new URL("../../shaders/bench-dot.wgsl", import.meta.url),
  fma: new URL("../../shaders/bench-fma.wgsl", import.meta.url),
  matrix: new URL("../../shaders/bench-matrix.wgsl", import.meta.url),
  copy: new URL("../../shaders/bench-copy.wgsl", import.meta.url),
};

/** The micro-kernels by name. */
export type MicroName = keyof typeof microUrls;

/** WGSL texts by name. */
export type MicroShaders = Readonly<Record<MicroName, string>>;

/** Reads the texts. */
export async function readMicroShaders(read: (url: URL) => Promise<string>): Promise<MicroShaders> {
  return Object.fromEntries(
    await Promise.all(Object.entries(microUrls).map(async ([name, url]) => [name, await read(url)] as const)),
  ) as MicroShaders;
}

/** A kernel's text with f16 as element type. Throws if a line that the host replaces is missing. */
export function asHalf(text: string): string {
  for (
    const [line, replacement] of [[/^alias T = .*$/m, "alias T = f16;"], [
      /^alias T4 = .*$/m,
      "alias T4 = vec4h;",
    ]] as const
  ) {
    if (!line.test(text)) throw new Error(`micro-kernel: no line matches ${line}; the host replaces it`);
    text = text.replace(line, replacement);
  }
  return `enable f16;\n${text}`;
}

/** Compiles a micro-kernel. Its entry point is `ceiling`. */
export async function compileMicro(gpu: Gpu, label: string, code: string): Promise<GPUComputePipeline> {
  const module = gpu.device.createShaderModule({ label, code });
  const errors = (await module.getCompilationInfo()).messages.filter((m) => m.type === "error");
  if (errors.length > 0) {
    throw new Error(
      `${label} does not compile: ${errors.map((m) => `line ${m.lineNum}:${m.linePos} ${m.message}`).join("; ")}`,
    );
  }
  return gpu.device.createComputePipeline({ label, layout: "auto", compute: { module, entryPoint: "ceiling" } });
}

/** Times dispatches on one device, by its timestamps or by the host's clock from submission to answer. */
export class Stopwatch {
  readonly #gpu: Gpu;
  readonly #ticks: { readonly set: GPUQuerySet; readonly resolved: GPUBuffer; readonly staging: GPUBuffer } | undefined;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    const { device, timestamps } = gpu;
    this.#ticks = timestamps
      ? {
        set: device.createQuerySet({ type: "timestamp", count: 2 }),
        resolved: device.createBuffer({ size: 16, usage: QUERY_RESOLVE | COPY_SRC }),
        staging: device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST }),
      }
      : undefined;
  }

  /** Seconds of one dispatch of `groups` workgroups. */
  async dispatch(pipeline: GPUComputePipeline, buffers: readonly GPUBuffer[], groups: number): Promise<number> {
    const { device, wait } = this.#gpu;
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const encoder = device.createCommandEncoder();
    const ticks = this.#ticks;
    const pass = encoder.beginComputePass(
      ticks && { timestampWrites: { querySet: ticks.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(groups);
    pass.end();
    if (ticks === undefined) return await this.#answered(encoder);
    encoder.resolveQuerySet(ticks.set, 0, 2, ticks.resolved, 0);
    encoder.copyBufferToBuffer(ticks.resolved, 0, ticks.staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await wait(ticks.staging.mapAsync(READ, 0, 16));
    const [begin, end] = new BigUint64Array(ticks.staging.getMappedRange(0, 16).slice(0));
    ticks.staging.unmap();
    return Number(end - begin) / 1e9;
  }

  /** Seconds of a copy command, by the host's clock. */
  async copy(from: GPUBuffer, to: GPUBuffer): Promise<number> {
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
    return await this.#answered(encoder);
  }

  async #answered(encoder: GPUCommandEncoder): Promise<number> {
    const start = performance.now();
    this.#gpu.device.queue.submit([encoder.finish()]);
    await this.#gpu.wait(this.#gpu.device.queue.onSubmittedWorkDone());
    return (performance.now() - start) / 1000;
  }

  dispose(): void {
    this.#ticks?.set.destroy();
    this.#ticks?.resolved.destroy();
    this.#ticks?.staging.destroy();
  }
}
