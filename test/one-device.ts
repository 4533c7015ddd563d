/**
 * Ranks in this thread, on one device: a kernel is compiled once for all of them. For tests of what ranks compute; how
 * workers live and die is tested on the runtime's own (platform.ts).
 */
import * as Comlink from "comlink";
import type { Platform } from "../engine/platform.ts";
import { RankService } from "../engine/rank/service.ts";
import { runtimeGpu } from "./gpu.ts";
import { testPlatform } from "./platform.ts";

/** A view of a host object in which some properties are replaced; methods still run on the object itself. */
function view<T extends object>(real: T, own: Record<PropertyKey, unknown>): T {
  return new Proxy(real, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set(_, key, value) {
      own[key] = value;
      return true;
    },
  });
}

/** The runtime's GPU, whose adapters all hand out one device with one set of compiled kernels. */
function sharing(gpu: GPU): GPU {
  let device: Promise<GPUDevice> | undefined;
  const modules = new Map<string, GPUShaderModule>();
  const pipelines = new Map<GPUShaderModule, GPUComputePipeline>();

  const rankDevice = (real: GPUDevice): GPUDevice => {
    let lose: (info: { reason: string; message: string }) => void = () => {};
    const own: Record<PropertyKey, unknown> = {
      lost: new Promise((resolve) => lose = resolve),
      destroy: () => lose({ reason: "destroyed", message: "" }),
      createShaderModule(descriptor: GPUShaderModuleDescriptor) {
        const module = modules.get(descriptor.code) ?? real.createShaderModule(descriptor);
        modules.set(descriptor.code, module);
        return module;
      },
      // One entry point a module, no constants: a module names its pipeline.
      createComputePipeline(descriptor: GPUComputePipelineDescriptor) {
        const { module } = descriptor.compute;
        const pipeline = pipelines.get(module) ?? real.createComputePipeline(descriptor);
        pipelines.set(module, pipeline);
        return pipeline;
      },
      createComputePipelineAsync: (descriptor: GPUComputePipelineDescriptor) =>
        Promise.resolve(mine.createComputePipeline(descriptor)),
    };
    const mine = view(real, own);
    real.addEventListener(
      "uncapturederror",
      (event) => (own.onuncapturederror as ((event: GPUUncapturedErrorEvent) => void) | undefined)?.(event),
    );
    return mine;
  };

  return view(gpu, {
    async requestAdapter(options: GPURequestAdapterOptions) {
      const adapter = await gpu.requestAdapter(options);
      return adapter && view(adapter, {
        requestDevice: async (descriptor: GPUDeviceDescriptor) =>
          rankDevice(await (device ??= adapter.requestDevice(descriptor))),
      });
    },
  });
}

/** The test runtime's platform, with ranks in this thread on one device. */
export async function oneDevice(): Promise<Platform> {
  const platform = await testPlatform();
  const { wait, blockingCompile } = await platform.threadGpu!();
  const gpu = sharing(await runtimeGpu());
  return {
    ...platform,
    startWorker() {
      const { port1, port2 } = new MessageChannel();
      const exit = () => {
        throw new Error("a rank on this thread cannot end alone: use testPlatform()");
      };
      Comlink.expose(new RankService({ gpu: () => gpu, wait, blockingCompile, exit }), port2);
      const close = () => {
        port1.close();
        port2.close();
      };
      return { endpoint: port1, onDeath: () => {}, terminate: close, giveUp: close };
    },
  };
}
