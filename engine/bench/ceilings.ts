/**
 * The adapter's ceilings: its multiply-add rates and its copy bandwidth. Micro-kernels run in turns, and the best
 * repeat counts.
 */
import type { Gpu } from "../gpu/device.ts";
import { COPY_DST, COPY_SRC, STORAGE, UNIFORM } from "../gpu/usage.ts";
import { asHalf, compileMicro, type MicroShaders, Stopwatch } from "./micro.ts";
import { interleave, type Repeats, repeatsOf } from "./stats.ts";

/** The multiply-add rate of one element type, in FLOP/s. */
export interface ArithmeticCeiling {
  /** The ceiling: the best repeat of the better form. Not a median: other work can only have lowered it. */
  readonly flopsPerSecond: number;
  /** Independent dots of vec4. */
  readonly dot: Repeats;
  /** Multiply-adds of vec4 in independent chains. */
  readonly fma: Repeats;
}

/** The adapter's ceilings as measured. */
export interface Ceilings {
  readonly f32: ArithmeticCeiling;
  /** undefined if the adapter has no shader-f16. */
  readonly f16: ArithmeticCeiling | undefined;
  /** Products of subgroup matrices, f16 into f32, in FLOP/s; undefined if attend-matrix.wgsl could use none. */
  readonly matrix?: Repeats | undefined;
  /** Bytes per second, read and written bytes both counted. */
  readonly copy: {
    /** A kernel that copies a vec4f an element. */
    readonly kernel: Repeats;
    /** The copy command, by the host's clock. */
    readonly command: Repeats;
    /** Size of the copied buffer. */
    readonly bytes: number;
  };
}

/** Floating-point operations of an invocation's turn (see the shaders). */
export const FLOPS_A_TURN = { dot: 132, fma: 256 } as const;
/** The same for a workgroup of bench-matrix.wgsl, and the elements that it writes. */
export const MATRIX_FLOPS_A_TURN = 4 * 65536, MATRIX_ELEMENTS = 4 * 2048;
/** Invocations of a workgroup of the others. */
export const GROUP = 64;
/** Length of a dispatch: long enough for a software adapter's workers to start, far from any watchdog. */
const TARGET_SECONDS = 0.03;

/** Repeats of a micro-kernel. They are short, and the best counts. */
const REPEATS = 9;

/** One micro-benchmark: a run gives units (FLOPs or bytes) per second. */
type Run = () => Promise<number>;

/** Measures the ceilings. `half`: a device with shader-f16, which may be the same. */
export async function measureCeilings(
  gpu: Gpu,
  half: Gpu | undefined,
  shaders: MicroShaders,
  signal?: AbortSignal,
): Promise<Ceilings> {
  const rigs: { dispose(): void }[] = [];
  try {
    const single = await arithmetic(gpu, shaders, (text) => text, rigs);
    const halves = half === undefined ? undefined : await arithmetic(half, shaders, asHalf, rigs);
    const copy = await copies(gpu, shaders, rigs);
    const matrices = gpu.matrices ? await products(gpu, shaders, rigs) : undefined;
    const runs = {
      dot: single.dot,
      fma: single.fma,
      kernel: copy.kernel,
      command: copy.command,
      halfDot: halves?.dot,
      halfFma: halves?.fma,
      matrices,
    };
    const names = (Object.keys(runs) as (keyof typeof runs)[]).filter((name) => runs[name] !== undefined);
    const seen = await interleave(names, REPEATS, (name) => runs[name]!(), signal);
    const { dot, fma, kernel, command, halfDot, halfFma, matrices: matrix } = Object.fromEntries(
      names.map((name, i) => [name, repeatsOf(seen[i])]),
    ) as Record<keyof typeof runs, Repeats>;
    const ceiling = (a: Repeats, b: Repeats): ArithmeticCeiling => ({
      flopsPerSecond: Math.max(a.max, b.max),
      dot: a,
      fma: b,
    });
    return {
      f32: ceiling(dot, fma),
      f16: halves === undefined ? undefined : ceiling(halfDot, halfFma),
      matrix,
      copy: { kernel, command, bytes: copy.bytes },
    };
  } finally {
    for (const rig of rigs) rig.dispose();
  }
}

/** The two forms of multiply-adds, each with as many turns as fill the target time. */
async function arithmetic(
  gpu: Gpu,
  shaders: MicroShaders,
  adapt: (text: string) => string,
  rigs: { dispose(): void }[],
): Promise<{ dot: Run; fma: Run }> {
  const watch = new Stopwatch(gpu);
  // Enough invocations for any device: a hundred processors of 2,048 threads.
  const groups = gpu.facts.software ? 64 : 8192;
  const params = gpu.device.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
  const out = gpu.device.createBuffer({ size: groups * GROUP * 4, usage: STORAGE });
  rigs.push(watch, { dispose: () => [params, out].forEach((b) => b.destroy()) });
  const made = async (name: "dot" | "fma"): Promise<Run> => {
    const pipeline = await compileMicro(gpu, `bench-${name}`, adapt(shaders[name]));
    return await longEnough(
      gpu,
      params,
      () => watch.dispatch(pipeline, [params, out], groups),
      groups * GROUP * FLOPS_A_TURN[name],
    );
  };
  return { dot: await made("dot"), fma: await made("fma") };
}

/** Products of matrices. */
async function products(gpu: Gpu, shaders: MicroShaders, rigs: { dispose(): void }[]): Promise<Run> {
  const watch = new Stopwatch(gpu);
  // 15 workgroups for each of the processors of the largest GPUs.
  const groups = 2048;
  const params = gpu.device.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
  const out = gpu.device.createBuffer({ size: groups * MATRIX_ELEMENTS * 4, usage: STORAGE });
  rigs.push(watch, { dispose: () => [params, out].forEach((b) => b.destroy()) });
  const pipeline = await compileMicro(gpu, "bench-matrix", shaders.matrix);
  return await longEnough(
    gpu,
    params,
    () => watch.dispatch(pipeline, [params, out], groups),
    groups * MATRIX_FLOPS_A_TURN,
  );
}

/** A run of as many turns as fill the target time, written to `params`. `flops`: of one turn. */
async function longEnough(gpu: Gpu, params: GPUBuffer, dispatch: () => Promise<number>, flops: number): Promise<Run> {
  const timed = async (turns: number) => {
    const words = new Uint32Array([turns, 0, 0, 0]);
    new Float32Array(words.buffer)[1] = 0.01;
    gpu.device.queue.writeBuffer(params, 0, words);
    return await dispatch();
  };
  let turns = 64;
  await timed(turns); // some drivers compile at the first dispatch
  for (let took = await timed(turns); took < TARGET_SECONDS / 2 && turns < 2 ** 24; took = await timed(turns)) {
    turns = Math.ceil(turns * Math.min(16, Math.max(1.5, TARGET_SECONDS / Math.max(took, 1e-6))));
  }
  return async () => (turns * flops) / (await timed(turns));
}

/** Copies a buffer that is too large for any cache. */
async function copies(
  gpu: Gpu,
  shaders: MicroShaders,
  rigs: { dispose(): void }[],
): Promise<{ kernel: Run; command: Run; bytes: number }> {
  const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
  const bytes = Math.min(maxStorageBufferBindingSize, maxBufferSize, gpu.facts.software ? 2 ** 26 : 2 ** 29);
  const watch = new Stopwatch(gpu);
  const params = gpu.device.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
  const [from, to] = [0, 1].map(() => gpu.device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC | COPY_DST }));
  rigs.push(watch, { dispose: () => [params, from, to].forEach((b) => b.destroy()) });
  const count = Math.floor(bytes / 16);
  gpu.device.queue.writeBuffer(params, 0, new Uint32Array([count, 0, 0, 0]));
  const pipeline = await compileMicro(gpu, "bench-copy", shaders.copy);
  const groups = gpu.facts.software ? 64 : Math.min(65535, Math.ceil(count / GROUP));
  const kernel: Run = async () => (2 * count * 16) / (await watch.dispatch(pipeline, [params, from, to], groups));
  const command: Run = async () => (2 * bytes) / (await watch.copy(from, to));
  await kernel(); // pages are first touched, and some drivers compile
  await command();
  return { kernel, command, bytes };
}
