/**
 * The kernels: what each one is, which devices can run it, and which it was made for. A new one is a file in shaders/
 * and a row here.
 */
import type { DType } from "../tensor/dtype.ts";

/** What the choice of a kernel needs to know of a device. */
export interface DeviceFacts {
  /** Lanes of a subgroup. Undefined if subgroups differ in size or the feature is off. */
  readonly subgroupSize: number | undefined;
  /** Fewest lanes that a subgroup may have. Undefined if the feature is off or shaders can't read `subgroup_id`. */
  readonly leastSubgroup: number | undefined;
  /** Workgroup memory, in bytes. */
  readonly workgroupMemory: number;
  /** Whether it has the matrix units that attend-matrix.wgsl uses. */
  readonly matrices: boolean;
  /** `software`: it emulates a GPU on the CPU. */
  readonly facts: { readonly software: boolean };
}

/** What an attention kernel is compiled for: head sizes and storage types. */
export interface AttendShape {
  /** D, of queries and keys. */
  readonly headDim: number;
  /** Dv, of values and O; default D. */
  readonly valueDim?: number;
  /** Whether V is the first Dv elements of each row of K; default no. */
  readonly valuesInKeys?: boolean;
  readonly q: DType;
  readonly kv: DType;
  /** H/Hkv. If it is unknown, a kernel of single query rows is compiled for PIECE_HEADS. */
  readonly group?: number;
}

/** Head sizes of all kernels but `attend`: V is a tensor of its own, as wide as K, and lanes hold a row of either. */
const oneHeadSize = ({ headDim, valueDim = headDim, valuesInKeys = false }: AttendShape): boolean =>
  headDim <= 256 && valueDim === headDim && !valuesInKeys;

/** A kernel of many query rows: what its tiles are, and which devices it is for. */
export interface TileKernel {
  /** Query rows (packed over the GQA group) of one workgroup. */
  readonly tileRows: number;
  /** How reports describe it. */
  readonly what: string;
  /**
   * Whether the kernel was made for this kind of device, and whether the work (FLOPs, see `chooseKernel`) is worth its
   * compilation.
   */
  readonly suits: (device: DeviceFacts, work: number) => boolean;
  /** Supported head sizes and storage types; omit if all. */
  readonly takes?: (shape: AttendShape) => boolean;
  /** Whether a device can run it; omit if every device can. */
  readonly runs?: (device: DeviceFacts) => boolean;
}

/** A kernel of single query rows, split-KV. */
export interface PieceKernel {
  /** How reports describe it. */
  readonly what: (shape: AttendShape) => string;
  /** Whether the kernel was made for this kind of device. */
  readonly suits: (device: DeviceFacts) => boolean;
  /** Supported head sizes and storage types. For others, a kernel of many query rows takes single rows too. */
  readonly takes: (shape: AttendShape) => boolean;
  /** Whether a device can run it on a shape; omit if every device can. */
  readonly runs?: (device: DeviceFacts, shape: AttendShape) => boolean;
  /**
   * Keys of a piece, if the row that sees most sees `keys`, and `beside` workgroups attend to pieces of the same keys;
   * omit if PIECE_KEYS.
   */
  readonly pieceKeys?: (keys: number, beside: number) => number;
}

/** Most keys of one workgroup's piece in decode.wgsl: its KEYS. */
export const PIECE_KEYS = 128;
/** Most query heads of a KV head that one workgroup of decode.wgsl attends. */
export const PIECE_HEADS = 8;
/** Columns (of four elements) that one invocation of merge.wgsl merges: its COLUMNS. */
export const MERGE_COLUMNS = 4;
/** Invocations of a workgroup of merge.wgsl. */
export const MERGE_GROUP = 64;
/** Columns that a workgroup of merge-parts.wgsl merges: its COLUMNS. */
export const MERGE_PARTS_COLUMNS = 8;

/** Fours of query heads that a workgroup of decode.wgsl attends: its QUADS. */
export const pieceQuads = (group = PIECE_HEADS): number => Math.ceil(Math.min(group, PIECE_HEADS) / 4);

/** Lanes that share a key in decode-subgroups.wgsl: its LANES. */
export const keyLanes = (headDim: number): number => 2 ** Math.max(0, Math.ceil(Math.log2(headDim / 16)));

/**
 * FLOPs above which attend-subgroup4-rows8 pays on SwiftShader: it saves a seventh of some 4 s, and takes half a second
 * longer to compile.
 */
const ROWS8_WORK = 2e10;

/** The kernels of many query rows, the most special first. The last one suits every device. */
export const TILE_KERNELS = {
  "attend-subgroup4-rows8": {
    tileRows: 32,
    what: "subgroups of 4, 8x16 scores a lane",
    suits: ({ subgroupSize }, work) => subgroupSize === 4 && work >= ROWS8_WORK,
    runs: ({ subgroupSize }) => subgroupSize === 4,
    takes: oneHeadSize,
  },
  "attend-subgroup4": {
    tileRows: 16,
    what: "subgroups of 4, 4x16 scores a lane",
    suits: ({ subgroupSize }) => subgroupSize === 4,
    runs: ({ subgroupSize }) => subgroupSize === 4,
    takes: oneHeadSize,
  },
  "attend-lanes": {
    tileRows: 32,
    what: "lanes by themselves, 4x16 scores a lane",
    suits: ({ facts }) => facts.software,
    takes: oneHeadSize,
  },
  "attend-matrix": {
    tileRows: 64,
    what: "matrix units, 16x16x16 in f16, 64x32 scores",
    // Never chosen until this text has passed its grid on hardware. `ringside bench` checks and measures it on devices
    // that can run it.
    suits: () => false,
    runs: ({ matrices }) => matrices,
    takes: (shape) => oneHeadSize(shape) && shape.kv === "f16" && shape.headDim % 16 === 0 && shape.headDim <= 128,
  },
  "attend-shared": {
    tileRows: 128,
    what: "8x16 threads, 8x8 scores, 28 KiB of workgroup memory",
    suits: ({ facts }) => !facts.software,
    runs: ({ workgroupMemory }) => workgroupMemory >= 32768,
    takes: oneHeadSize,
  },
  attend: { tileRows: 32, what: "8x8 threads, 4x4 scores", suits: () => true },
} as const satisfies Record<string, TileKernel>;

/** Kernels of many query rows. */
export type TileKernelName = keyof typeof TILE_KERNELS;

/** Pieces that keep a GPU's processors reading: some four for each processor of the largest GPUs. */
const PIECES = 512;

const ofFixedPieces = ({ group }: AttendShape) =>
  `split-KV, ${PIECE_KEYS} keys and ${4 * pieceQuads(group)} heads a workgroup`;

/** The kernels of single query rows, the most special first. The last one suits every device. */
export const PIECE_KERNELS = {
  "decode-subgroup4": {
    what: ofFixedPieces,
    takes: oneHeadSize,
    suits: ({ subgroupSize }) => subgroupSize === 4,
    runs: ({ subgroupSize }) => subgroupSize === 4,
  },
  "decode-subgroups": {
    what: ({ headDim, group }) =>
      `split-KV, ${keyLanes(headDim)} lanes a key and ${4 * pieceQuads(group)} heads a workgroup`,
    suits: ({ facts }) => !facts.software,
    takes: oneHeadSize,
    runs: ({ leastSubgroup }, { headDim }) => leastSubgroup !== undefined && leastSubgroup >= keyLanes(headDim),
    pieceKeys: (keys, beside) => Math.max(64, Math.ceil((keys * beside) / PIECES / 64) * 64),
  },
  decode: { what: ofFixedPieces, takes: oneHeadSize, suits: () => true },
} as const satisfies Record<string, PieceKernel>;

/** Kernels of single query rows. */
export type PieceKernelName = keyof typeof PIECE_KERNELS;

/** The attention kernels: tiles of many query rows, or split-KV for single ones. */
export type KernelName = TileKernelName | PieceKernelName;

/** Kernels that merge partial results. */
export type MergeKernelName = "merge" | "merge-parts";

/** Whether a name is that of a kernel of many query rows. */
export const isTileKernel = (name: string): name is TileKernelName => Object.hasOwn(TILE_KERNELS, name);

/** Whether a name is that of a kernel of single query rows. */
export const isPieceKernel = (name: string): name is PieceKernelName => Object.hasOwn(PIECE_KERNELS, name);

/** Whether a name is that of a merge kernel. */
export const isMergeKernel = (name: string | undefined): name is MergeKernelName =>
  name === "merge" || name === "merge-parts";

/** The name that reports give a kernel. */
export function kernelName(name: KernelName, shape: AttendShape): string {
  const what = isPieceKernel(name) ? PIECE_KERNELS[name].what(shape) : TILE_KERNELS[name].what;
  const { headDim, valueDim = headDim, valuesInKeys = false } = shape;
  const values = valuesInKeys ? `, V in K ${valueDim}` : valueDim === headDim ? "" : `, V ${valueDim}`;
  return `${name}: ${what} (D ${headDim}${values}, q ${shape.q}, kv ${shape.kv})`;
}
