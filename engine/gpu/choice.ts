/** Which kernel runs a call: one function from facts and shape to a kernel, with or without tries and overrides. */
import { InputError } from "../errors.ts";
import type { Visibility } from "../layout/visibility.ts";
import {
  type AttendShape,
  type DeviceFacts,
  isMergeKernel,
  isPieceKernel,
  isTileKernel,
  type KernelName,
  type MergeKernelName,
  PIECE_KERNELS,
  type PieceKernel,
  type PieceKernelName,
  TILE_KERNELS,
  type TileKernel,
  type TileKernelName,
} from "./kernels.ts";
import type { Tuner } from "./tuner.ts";

/** The kernels of many query rows that a device can run on a shape; those that suit it and its work come first. */
export function tileKernelsOf(device: DeviceFacts, shape: AttendShape, work = 0): readonly TileKernelName[] {
  const able = (Object.keys(TILE_KERNELS) as TileKernelName[]).filter((name) => {
    const { runs, takes } = TILE_KERNELS[name] as TileKernel;
    return (runs?.(device) ?? true) && (takes?.(shape) ?? true);
  });
  const suits = (name: TileKernelName) => Number(TILE_KERNELS[name].suits(device, work));
  return able.sort((a, b) => suits(b) - suits(a));
}

/** The kernels of single query rows that a device can run on a shape; those that suit it come first. */
export function pieceKernelsOf(device: DeviceFacts, shape: AttendShape): readonly PieceKernelName[] {
  const able = (Object.keys(PIECE_KERNELS) as PieceKernelName[]).filter((name) => {
    const { runs, takes } = PIECE_KERNELS[name] as PieceKernel;
    return takes(shape) && (runs?.(device, shape) ?? true);
  });
  const suits = (name: PieceKernelName) => Number(PIECE_KERNELS[name].suits(device));
  return able.sort((a, b) => suits(b) - suits(a));
}

/** The kernels of many query rows that suit a device, its work and a shape, its first choice first. */
export function suitingTileKernels(device: DeviceFacts, shape: AttendShape, work = 0): readonly TileKernelName[] {
  return tileKernelsOf(device, shape, work).filter((name) => TILE_KERNELS[name].suits(device, work));
}

/** The kernels of single query rows that suit a device and a shape, its first choice first. */
export function suitingPieceKernels(device: DeviceFacts, shape: AttendShape): readonly PieceKernelName[] {
  return pieceKernelsOf(device, shape).filter((name) => PIECE_KERNELS[name].suits(device));
}

/** An attention call, as far as the choice of its kernel depends on it. */
export interface KernelCall {
  readonly device: DeviceFacts;
  readonly shape: AttendShape;
  /** The mask. A call is one of single rows if no sequence has more than one query row in it. */
  readonly seen: Visibility;
  /** The device's FLOPs with this shape so far, this call's included; default 0. */
  readonly work?: number;
  /** FLOPs of this call; only tries need it. */
  readonly flops?: number;
  /** Override: this kernel, even if it doesn't suit. */
  readonly only?: KernelName | undefined;
  /** Overrides: kernels whose text the caller gave. One of them runs wherever it can. */
  readonly given?: readonly string[] | undefined;
  /** The kernel of many rows that this run has compiled already. Tries go before it. */
  readonly prepared?: TileKernelName | undefined;
  /** Tries the kernels of many rows that suit, and keeps the fastest. */
  readonly tuner?: Pick<Tuner, "pick"> | undefined;
}

/**
 * The kernel of a call: split-KV if it is one of single rows, else tiles. Errors: InputError if the device can run none
 * of the given texts.
 */
export function chooseKernel(call: KernelCall): KernelName {
  const candidates = candidateKernels(call);
  const [first] = candidates;
  if (call.only !== undefined || isPieceKernel(first)) return first;
  return call.tuner?.pick(call.shape, candidates as readonly TileKernelName[], call.flops ?? 0) ?? call.prepared ??
    first;
}

/** The kernels that `chooseKernel` chooses from, first choice first: several only if a tuner compares them. */
export function candidateKernels(call: KernelCall): readonly KernelName[] {
  const { device, shape, seen, work = 0, only, given = [], tuner } = call;
  if (only !== undefined) return [only];
  const [pieces, tiles] = [pieceKernelsOf(device, shape), tileKernelsOf(device, shape, work)];
  const single = pieces.length > 0 && seen.views.length > 0 && seen.views.every((view) => view.rows === 1);
  const first = single ? pieces[0] : tiles[0];
  // Kernels of many rows take single ones too.
  const wanted = given.filter(single && given.some(isPieceKernel) ? isPieceKernel : isTileKernel);
  if (wanted.length > 0) {
    const able = [...pieces, ...tiles].find((name) => wanted.includes(name));
    if (able !== undefined) return [able];
    throw new InputError(
      `shaders: found a text for "${wanted[0]}", which this device cannot run on D ${shape.headDim}, q ${shape.q}, ` +
        `kv ${shape.kv}; "${first}" would run in its place: leave it out, or give a text for "${first}"`,
    );
  }
  return single || tuner === undefined ? [first] : suitingTileKernels(device, shape, work);
}

/** A merge, as far as the choice of its kernel depends on it. */
export interface MergeCall {
  readonly device: Pick<DeviceFacts, "facts">;
  /** Partial results. */
  readonly parts: number;
  /** Rows of each, a token and head. */
  readonly rows: number;
  /** Columns of four elements. */
  readonly columns: number;
  /** Override: this kernel, even if it doesn't suit. */
  readonly only?: MergeKernelName | undefined;
  /** Overrides: kernels whose text the caller gave. */
  readonly given?: readonly string[] | undefined;
}

/** The kernel of a merge: on GPUs, many parts of few rows are shared among the threads of a workgroup. */
export function chooseMerge({ device, parts, rows, columns, only, given = [] }: MergeCall): MergeKernelName {
  if (only !== undefined) return only;
  const wanted = given.filter(isMergeKernel);
  if (wanted.length === 1) return wanted[0];
  return !device.facts.software && parts > 8 && rows * columns <= 8192 ? "merge-parts" : "merge";
}
