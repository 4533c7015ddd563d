/** The cases that a kernel's text has to pass: head shapes, batches and wires, by what the kernel is. */
import { pieceKernelsOf } from "../gpu/choice.ts";
import {
  type AttendShape,
  type DeviceFacts,
  isPieceKernel,
  kernelName,
  TILE_KERNELS,
  type TileKernel,
  type TileKernelName,
} from "../gpu/kernels.ts";
import { CAUSAL } from "../layout/mask.ts";
import { type GridCase, SINGLE, type StoredType, TILES } from "./grid.ts";
import { HEADS, type Heads } from "./inputs.ts";
import { roleOf } from "./texts.ts";

/**
 * Head shapes of a trial's grid: those that are measured, the smallest, and one whose columns don't fill a workgroup's
 * rows.
 */
const SHAPES: readonly Heads[] = [
  HEADS[1],
  HEADS[0],
  { heads: 4, kvHeads: 4, headDim: 16 },
  { heads: 8, kvHeads: 2, headDim: 80 },
];
/** Both 16-bit types, each on another operand. */
const WIRES = [{ dtype: "bf16", variant: "pass-q" }, { dtype: "f16", variant: "pass-kv" }] as const;
/** Partial results that are all empty, some of them, and none: one token on eight ranks. */
const EMPTY = { sequences: [{ new: 1, cached: 0 }, { new: 0, cached: 5 }], mask: CAUSAL, ranks: 8 };

/** The cases that a kernel's text has to pass; with a device, only those that it can run the kernel on. */
export function casesOf(name: string, device?: DeviceFacts): readonly GridCase[] {
  const role = roleOf(name);
  const own = role === "tiles"
    ? TILES
    : role === "pieces"
    ? SINGLE
    : role === "merge"
    ? [...TILES.filter((c) => c.ranks > 1), ...SINGLE, EMPTY]
    : [];
  const wired = role === "merge" || own.length === 0
    ? []
    : WIRES.map((wire) => ({ ...HEADS[1], ...own[own.length - 1], wire }));
  const able = ({ headDim }: GridCase) =>
    device === undefined || !isPieceKernel(name) ||
    pieceKernelsOf(device, { headDim, q: "f32", kv: "f32" }).includes(name);
  const cases = [...SHAPES.flatMap((heads) => own.map((c): GridCase => ({ ...heads, ...c }))), ...wired].filter(able);
  return storedAs(name) === "f32"
    ? cases
    : cases.filter(({ wire }) => wire === undefined).map((c) => ({ ...c, wire: WIRES[1] }));
}

/** The type of keys and values that a kernel is checked and timed with. */
export function storedAs(name: string): StoredType {
  const kernel: TileKernel | undefined = TILE_KERNELS[name as TileKernelName];
  return kernel?.takes?.({ headDim: HEADS[0].headDim, q: "f32", kv: "f32" }) ?? true ? "f32" : "f16";
}

/** The head sizes and types of some cases, each once. */
export function shapesOf(cases: readonly GridCase[]): AttendShape[] {
  const shapes = cases.map(({ headDim, wire }): AttendShape => ({
    headDim,
    q: wire?.variant === "pass-q" ? wire.dtype : "f32",
    kv: wire?.variant === "pass-kv" ? wire.dtype : "f32",
  }));
  return [...new Map(shapes.map((shape) => [kernelName("decode", shape), shape])).values()];
}
