/** Turns the WGSL texts into pipelines for a head size and storage types, once a device. */
import { InputError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Visibility } from "../layout/visibility.ts";
import { Pace } from "./pace.ts";
import type { GivenShaders } from "./shaders.ts";
import { Tuner } from "./tuner.ts";
import { unrolled } from "./unroll.ts";

/**
 * How four stored elements look in WGSL, and how they become a vec4f. f16 is unpacked by a core builtin: no
 * `shader-f16` needed.
 */
const STORAGE: Readonly<Record<DType, { readonly type: string; readonly unpack: string }>> = {
  f32: { type: "vec4f", unpack: "x" },
  f16: { type: "vec2u", unpack: "vec4f(unpack2x16float(x.x), unpack2x16float(x.y))" },
  bf16: {
    type: "vec2u",
    unpack: "bitcast<vec4f>(vec4u(x.x << 16u, x.x & 0xffff0000u, x.y << 16u, x.y & 0xffff0000u))",
  },
};

/** Most keys of one workgroup's piece in decode.wgsl: its KEYS. */
export const PIECE_KEYS = 128;
/** Most query heads of a KV head that one workgroup of decode.wgsl attends, in fours. */
export const PIECE_HEADS = 8;

/** Fours of query heads that a workgroup of decode.wgsl attends: its QUADS. */
export const pieceQuads = (group = PIECE_HEADS): number => Math.ceil(Math.min(group, PIECE_HEADS) / 4);
/** Columns (of four elements) that one invocation of merge.wgsl merges: its COLUMNS. */
export const MERGE_COLUMNS = 4;

/** A kernel of many query rows: what its tiles are, and which devices it is for. */
export interface TileKernel {
  /** Query rows (packed over the GQA group) of one workgroup. */
  readonly tileRows: number;
  readonly what: string;
  /**
   * Whether a device that can run it is the kind that it was made for, and has enough to do (FLOPs, see `chooseKernel`)
   * to be worth its compilation.
   */
  readonly suits: (device: DeviceFacts, work: number) => boolean;
  /** Whether it takes this head size and these storage types; all of them where this is not said. */
  readonly takes?: (shape: AttendShape) => boolean;
  /** Whether a device can run it; every one where this is not said. */
  readonly runs?: (device: DeviceFacts) => boolean;
}

/** A kernel of single query rows, split-KV. */
export interface PieceKernel {
  readonly what: (shape: AttendShape) => string;
  /** Whether a device is the kind that it was made for. */
  readonly suits: (device: DeviceFacts) => boolean;
  /** Whether a device can run it on a shape; every one where this is not said. */
  readonly runs?: (device: DeviceFacts, shape: AttendShape) => boolean;
  /**
   * Keys of a piece where the row that sees most sees `keys`, and `beside` workgroups attend to pieces of the same
   * keys; PIECE_KEYS where this is not said.
   */
  readonly pieceKeys?: (keys: number, beside: number) => number;
}

/** What the choice of a kernel depends on. */
export interface DeviceFacts {
  /** Lanes of every subgroup, where they are always as many and the feature is on. */
  readonly subgroupSize: number | undefined;
  /** Fewest lanes that a subgroup may have, where the feature is on and shaders are told which subgroup they are in. */
  readonly leastSubgroup: number | undefined;
  /** Workgroup memory, in bytes. */
  readonly workgroupMemory: number;
  /** Whether it has matrix units as attend-matrix.wgsl wants them. */
  readonly matrices: boolean;
  /** Whether it emulates a GPU on the CPU. */
  readonly facts: { readonly software: boolean };
}

/**
 * FLOPs from which attend-subgroup4-rows8 saves SwiftShader what it takes longer to compile: a seventh of some 4 s,
 * against half a second.
 */
const ROWS8_WORK = 2e10;

/**
 * The kernels of many query rows, the most special first; the last one suits every device. A new one is a file in
 * shaders/ and a row here.
 */
export const TILE_KERNELS = {
  "attend-subgroup4-rows8": {
    tileRows: 32,
    what: "subgroups of 4, 8x16 scores a lane",
    suits: ({ subgroupSize }, work) => subgroupSize === 4 && work >= ROWS8_WORK,
    runs: ({ subgroupSize }) => subgroupSize === 4,
  },
  "attend-subgroup4": {
    tileRows: 16,
    what: "subgroups of 4, 4x16 scores a lane",
    suits: ({ subgroupSize }) => subgroupSize === 4,
    runs: ({ subgroupSize }) => subgroupSize === 4,
  },
  "attend-lanes": {
    tileRows: 32,
    what: "lanes by themselves, 4x16 scores a lane",
    suits: ({ facts }) => facts.software,
  },
  "attend-matrix": {
    tileRows: 64,
    what: "matrix units, 16x16x16 in f16, 64x32 scores",
    // No choice of its own before this text has passed its grid on hardware: `ringside bench` checks and measures it
    // where it can run.
    suits: () => false,
    runs: ({ matrices }) => matrices,
    takes: ({ headDim, kv }) => kv === "f16" && headDim % 16 === 0 && headDim <= 128,
  },
  "attend-shared": {
    tileRows: 128,
    what: "8x16 threads, 8x8 scores, 28 KiB of workgroup memory",
    suits: ({ facts }) => !facts.software,
    runs: ({ workgroupMemory }) => workgroupMemory >= 32768,
  },
  attend: { tileRows: 32, what: "8x8 threads, 4x4 scores", suits: () => true },
} as const satisfies Record<string, TileKernel>;

/** Kernels of many query rows. */
export type TileKernelName = keyof typeof TILE_KERNELS;

/** The kernels of many query rows that a device can run on a shape; those that suit it and its work come first. */
export function tileKernelsOf(device: DeviceFacts, shape: AttendShape, work = 0): readonly TileKernelName[] {
  const able = (Object.keys(TILE_KERNELS) as TileKernelName[]).filter((name) => {
    const { runs, takes } = TILE_KERNELS[name] as TileKernel;
    return (runs?.(device) ?? true) && (takes?.(shape) ?? true);
  });
  const suits = (name: TileKernelName) => Number(TILE_KERNELS[name].suits(device, work));
  return able.sort((a, b) => suits(b) - suits(a));
}

/** Lanes that share a key in decode-subgroups.wgsl: its LANES. */
const keyLanes = (headDim: number): number => 2 ** Math.max(0, Math.ceil(Math.log2(headDim / 16)));

/** Workgroups that keep a GPU's processors reading: some four for each of the largest ones'. */
const PIECES = 512;

const ofFixedPieces = ({ group }: AttendShape) =>
  `split-KV, ${PIECE_KEYS} keys and ${4 * pieceQuads(group)} heads a workgroup`;

/** The kernels of single query rows, the most special first; the last one suits every device. */
export const PIECE_KERNELS = {
  "decode-subgroup4": {
    what: ofFixedPieces,
    suits: ({ subgroupSize }) => subgroupSize === 4,
    runs: ({ subgroupSize }) => subgroupSize === 4,
  },
  "decode-subgroups": {
    what: ({ headDim, group }) =>
      `split-KV, ${keyLanes(headDim)} lanes a key and ${4 * pieceQuads(group)} heads a workgroup`,
    suits: ({ facts }) => !facts.software,
    runs: ({ leastSubgroup }, { headDim }) => leastSubgroup !== undefined && leastSubgroup >= keyLanes(headDim),
    pieceKeys: (keys, beside) => Math.max(64, Math.ceil((keys * beside) / PIECES / 64) * 64),
  },
  decode: { what: ofFixedPieces, suits: () => true },
} as const satisfies Record<string, PieceKernel>;

/** Kernels of single query rows. */
export type PieceKernelName = keyof typeof PIECE_KERNELS;

/** The kernels of single query rows that a device can run on a shape; those that suit it come first. */
export function pieceKernelsOf(device: DeviceFacts, shape: AttendShape): readonly PieceKernelName[] {
  const able = (Object.keys(PIECE_KERNELS) as PieceKernelName[]).filter((name) =>
    (PIECE_KERNELS[name] as PieceKernel).runs?.(device, shape) ?? true
  );
  const suits = (name: PieceKernelName) => Number(PIECE_KERNELS[name].suits(device));
  return able.sort((a, b) => suits(b) - suits(a));
}

/** The kernels of single query rows that suit a device and a shape, the one it would choose first. */
export function suitingPieceKernels(device: DeviceFacts, shape: AttendShape): readonly PieceKernelName[] {
  return pieceKernelsOf(device, shape).filter((name) => PIECE_KERNELS[name].suits(device));
}

/** The attention kernels: tiles of many query rows, or split-KV for single ones. */
export type KernelName = TileKernelName | PieceKernelName;

/** Whether a kernel is one of single query rows. */
export const isPieceKernel = (name: string): name is PieceKernelName => Object.hasOwn(PIECE_KERNELS, name);

/** The kernels of many query rows that suit a device, its work and a shape, the one it would choose first. */
export function suitingTileKernels(device: DeviceFacts, shape: AttendShape, work = 0): readonly TileKernelName[] {
  return tileKernelsOf(device, shape, work).filter((name) => TILE_KERNELS[name].suits(device, work));
}

/**
 * Which kernel suits a mask and a shape on a device: split-KV where no sequence has more than one query row here, else
 * tiles.
 * `work`: FLOPs that the device was asked for with this shape so far, this call's included.
 * `given`: kernels whose text was given in place of the shipped one. One of them runs wherever it can; InputError if
 * none can.
 */
export function chooseKernel(
  seen: Visibility,
  device: DeviceFacts,
  shape: AttendShape,
  work = 0,
  given: readonly string[] = [],
): KernelName {
  const single = seen.views.length > 0 && seen.views.every((view) => view.rows === 1);
  const [pieces, tiles] = [pieceKernelsOf(device, shape), tileKernelsOf(device, shape, work)];
  // Kernels of many rows take single ones too.
  const wanted = single && given.some(isPieceKernel)
    ? given.filter(isPieceKernel)
    : given.filter((name) => Object.hasOwn(TILE_KERNELS, name));
  const first = single ? pieces[0] : tiles[0];
  if (wanted.length === 0) return first;
  const able = [...pieces, ...tiles].find((name) => wanted.includes(name));
  if (able !== undefined) return able;
  throw new InputError(
    `shaders: found a text for "${
      wanted[0]
    }", which this device cannot run on D ${shape.headDim}, q ${shape.q}, kv ${shape.kv}; "${first}" would run in its place: leave it out, or give a text for "${first}"`,
  );
}

/** Kernels that merge partial results. */
export type MergeKernelName = "merge" | "merge-parts";

/** Whether a name is one of theirs. */
export const isMergeKernel = (name: string | undefined): name is MergeKernelName =>
  name === "merge" || name === "merge-parts";

/**
 * Which kernel merges `parts` partial results of `rows` rows (a token and head) of `columns` vec4: on GPUs many parts
 * of few rows are shared out.
 */
export function chooseMerge(
  device: DeviceFacts,
  parts: number,
  rows: number,
  columns: number,
  given: readonly string[] = [],
): MergeKernelName {
  const wanted = given.filter(isMergeKernel);
  if (wanted.length === 1) return wanted[0];
  return !device.facts.software && parts > 8 && rows * columns <= 8192 ? "merge-parts" : "merge";
}

/** Which attention kernel: head size and storage types. */
export interface AttendShape {
  readonly headDim: number;
  readonly q: DType;
  readonly kv: DType;
  /** H/Hkv; what the kernel takes most of where it is not known. */
  readonly group?: number;
}

/** The name a report gives a kernel. */
export function kernelName(name: KernelName, shape: AttendShape): string {
  const what = isPieceKernel(name) ? PIECE_KERNELS[name].what(shape) : TILE_KERNELS[name].what;
  return `${name}: ${what} (D ${shape.headDim}, q ${shape.q}, kv ${shape.kv})`;
}

/**
 * The text of an attention kernel with its `specialise` lines rewritten; throws when a line is missing, so that an
 * edited shader cannot silently stay at its defaults.
 */
export function specialise(text: string, shape: AttendShape): string {
  const lines: readonly (readonly [RegExp, string])[] = [
    [/^const D: u32 = .*$/m, `const D: u32 = ${shape.headDim}u;`],
    [/^alias Q4 = .*$/m, `alias Q4 = ${STORAGE[shape.q].type};`],
    [/^alias KV4 = .*$/m, `alias KV4 = ${STORAGE[shape.kv].type};`],
    [/^fn unpack_q\(.*$/m, `fn unpack_q(x: Q4) -> vec4f { return ${STORAGE[shape.q].unpack}; }`],
    [/^fn unpack_kv\(.*$/m, `fn unpack_kv(x: KV4) -> vec4f { return ${STORAGE[shape.kv].unpack}; }`],
  ];
  // Of the kernels of single query rows alone.
  const quads = text.replace(/^const QUADS: u32 = \d+u;/m, `const QUADS: u32 = ${pieceQuads(shape.group)}u;`);
  return lines.reduce((source, [line, replacement]) => {
    if (!line.test(source)) throw new Error(`attention kernel: no line matches ${line}; the host replaces it`);
    return source.replace(line, replacement);
  }, quads);
}

/** The pipelines of one device, compiled on first use and kept. */
export class Kernels {
  /** The rate that sizes submissions. */
  readonly pace = new Pace();
  /** Pipelines that have run: some drivers (lavapipe) compile at the first dispatch. */
  readonly ran = new WeakSet<GPUComputePipeline>();
  /** Finds the fastest kernel of those that suit; undefined where the first of them is always taken. */
  readonly tuner: Tuner | undefined;
  /** Kernels whose text was given in place of the shipped one. */
  readonly given: NonNullable<GivenShaders["given"]>;
  /** Seconds spent compiling so far. */
  compileSeconds = 0;
  readonly #device: GPUDevice;
  readonly #shaders: GivenShaders;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #work = new Map<string, number>();

  #checked: Promise<void> | undefined;

  readonly #blocking: boolean;
  readonly #written: (text: string) => string;

  /**
   * `tune` tries the kernels that suit the device on the work itself and keeps the fastest (see Tuner).
   * `blocking` compiles on the calling thread: in Node, Dawn spins an idle thread while it waits, so that four waiting
   * ranks took 8.3 s on two cores where four blocked ones took 3.1 s.
   */
  constructor(
    { device, facts }: { readonly device: GPUDevice; readonly facts: DeviceFacts["facts"] },
    shaders: GivenShaders,
    blocking = false,
    tune = false,
  ) {
    this.given = shaders.given ?? [];
    // A text that was given is to run, not to be tried against shipped ones.
    this.tuner = tune && this.given.length === 0 ? new Tuner() : undefined;
    this.#device = device;
    // What hardware gains by it, a software adapter would pay in compilation.
    this.#written = facts.software ? (text) => text : unrolled;
    this.#shaders = shaders;
    this.#blocking = blocking;
  }

  /** Takes in that a call of so many FLOPs is asked for; all that were with its head size and types. */
  asked({ headDim, q, kv }: AttendShape, flops: number): number {
    const key = [headDim, q, kv].join(" ");
    const work = (this.#work.get(key) ?? 0) + flops;
    this.#work.set(key, work);
    return work;
  }

  async attend(name: KernelName, shape: AttendShape): Promise<GPUComputePipeline> {
    if (this.given.length > 0) await this.#checkGiven(shape);
    return await this.#get(
      kernelName(name, shape),
      isPieceKernel(name) ? "decode" : "attend",
      () => this.#written(specialise(this.#shaders[name], shape)),
    );
  }

  /**
   * Resolves when nothing is being compiled any more: a Node worker that ends while Dawn owes it an answer takes the
   * process down.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pipelines.values());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  merge(name: MergeKernelName): Promise<GPUComputePipeline> {
    return this.#get(name, "merge", () => this.#shaders[name]);
  }

  seeded(): Promise<GPUComputePipeline> {
    return this.#get("seeded", "seeded", () => this.#shaders.seeded);
  }

  /** Compiles every text that was given, whether it is about to run or not: InputError for one that is no kernel. */
  #checkGiven(shape: AttendShape): Promise<void> {
    return (this.#checked ??= (async () => {
      for (const name of this.given) {
        const attention = isPieceKernel(name) || Object.hasOwn(TILE_KERNELS, name);
        try {
          const code = attention ? specialise(this.#shaders[name], shape) : this.#shaders[name];
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

  /** A module and what is wrong with its text, which is no error of the device's beside. */
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

/** What a compiler says is wrong. */
async function errorsOf(module: GPUShaderModule): Promise<string | undefined> {
  const errors = (await module.getCompilationInfo()).messages.filter((m) => m.type === "error");
  return errors.length === 0 ? undefined : errors.map((m) => `line ${m.lineNum}:${m.linePos} ${m.message}`).join("; ");
}
