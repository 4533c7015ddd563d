/**
 * The peer: onnxruntime-web's GroupQueryAttention on its WebGPU execution provider. Inputs and outputs stay on the GPU.
 */
import type * as Ort from "onnxruntime-web";
import { COPY_DST, COPY_SRC, STORAGE } from "../../gpu/usage.ts";
import { type GroupQueryAttention, groupQueryAttention, ports } from "../onnx.ts";

/** An attention that is ready to run. */
export interface Prepared {
  readonly name: string;
  readonly version: string;
  /** Runs once. Resolves when the device has done it. */
  run(): Promise<void>;
  /** O `[T, H, D]` of the last run. */
  output(): Promise<Float32Array>;
  dispose(): Promise<void>;
}

const USAGE = STORAGE | COPY_SRC | COPY_DST;

/** The address of the peer's files, the one to load, and the device to run on. */
export interface PeerSetup {
  /** Address of a folder. */
  readonly ort: string;
  readonly file: string;
  readonly device: GPUDevice;
}

/** A device with everything the adapter offers, or everything but subgroups. */
export async function peerDevice(subgroups: boolean): Promise<GPUDevice> {
  const adapter = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  const requiredFeatures = [...adapter.features].filter((name) =>
    subgroups || !name.startsWith("subgroup")
  ) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    if (/^max/.test(name)) requiredLimits[name] = adapter.limits[name as "maxBufferSize"];
  }
  return await adapter.requestDevice({ requiredFeatures, requiredLimits });
}

/** Compiles the model and puts the inputs on the GPU. */
export async function preparePeer(
  { ort: folder, file, device }: PeerSetup,
  attention: GroupQueryAttention,
  data: { readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array },
): Promise<Prepared> {
  const ort = (await import(/* @vite-ignore */ new URL(file, folder).href)) as typeof Ort;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = folder;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(groupQueryAttention(attention), {
    executionProviders: [{ name: "webgpu", device }],
    preferredOutputLocation: "gpu-buffer",
  });
  const buffers: GPUBuffer[] = [];
  const { inputs } = ports(attention);
  const feeds: Record<string, Ort.Tensor> = {
    seqlens_k: new ort.Tensor("int32", Int32Array.of(attention.tokens - 1), [1]),
    total_sequence_length: new ort.Tensor("int32", Int32Array.of(attention.tokens), []),
  };
  for (const [name, values] of [["query", data.q], ["key", data.k], ["value", data.v]] as const) {
    const buffer = device.createBuffer({ size: values.byteLength, usage: USAGE });
    device.queue.writeBuffer(buffer, 0, values as Float32Array<ArrayBuffer>);
    buffers.push(buffer);
    feeds[name] = ort.Tensor.fromGpuBuffer(buffer, {
      dataType: "float32",
      dims: inputs.find((port) => port.name === name)!.shape,
    });
  }
  for (const { name, shape } of inputs) {
    if (name.startsWith("past_")) feeds[name] = new ort.Tensor("float32", new Float32Array(0), shape);
  }
  await device.queue.onSubmittedWorkDone();
  let last: Ort.InferenceSession.ReturnType | undefined;
  const forget = () => {
    if (last !== undefined) { for (const tensor of Object.values(last)) tensor.dispose(); }
  };
  return {
    name: "onnxruntime-web",
    version: ort.env.versions.web ?? ort.env.versions.common,
    async run() {
      forget();
      last = await session.run(feeds);
      await device.queue.onSubmittedWorkDone();
    },
    output: async () => (await last!.output.getData()) as Float32Array,
    async dispose() {
      forget();
      await session.release();
      for (const b of buffers) b.destroy();
    },
  };
}
