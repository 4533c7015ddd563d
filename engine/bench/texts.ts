/** The kernels whose texts a user can read and try: everything in shaders/, and each one's role in the engine. */
import { suitingTileKernels } from "../gpu/choice.ts";
import {
  type DeviceFacts,
  isMergeKernel,
  isPieceKernel,
  type KernelName,
  PIECE_KERNELS,
  TILE_KERNELS,
  type TileKernelName,
} from "../gpu/kernels.ts";
import { shaderUrls } from "../gpu/shaders.ts";
import { microUrls } from "./micro.ts";

/** Addresses of the texts, by name. */
export const textUrls: Readonly<Record<string, URL>> = {
  ...shaderUrls,
  ...Object.fromEntries(Object.entries(microUrls).map(([name, url]) => [`bench-${name}`, url])),
};

/** Reads every text. */
export async function readTexts(read: (url: URL) => Promise<string>): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries(
    await Promise.all(Object.entries(textUrls).map(async ([name, url]) => [name, await read(url)] as const)),
  );
}

/**
 * A kernel's role in the engine. `inputs`: it makes seeded tensors. `ceiling`: a micro-kernel of `ringside bench`.
 * `unknown`: nothing here can run it.
 */
export type Role = "tiles" | "pieces" | "merge" | "inputs" | "ceiling" | "unknown";

/** The role of a kernel by its name. */
export function roleOf(name: string): Role {
  if (Object.hasOwn(TILE_KERNELS, name)) return "tiles";
  if (isPieceKernel(name)) return "pieces";
  if (isMergeKernel(name)) return "merge";
  if (name === "seeded") return "inputs";
  return name.startsWith("bench-") ? "ceiling" : "unknown";
}

/** The attention kernel of that name, if it is one. */
export function attentionKernel(name: string): KernelName | undefined {
  const role = roleOf(name);
  return role === "tiles" || role === "pieces" ? (name as KernelName) : undefined;
}

/** Whether runs of the engine use a kernel, so that a text in its place has an effect. */
export const isRun = (name: string): boolean => Object.hasOwn(shaderUrls, name) && roleOf(name) !== "inputs";

/** A device's first choice among the kernels of many query rows, on f32. */
export function tileKernelOf(device: DeviceFacts): TileKernelName {
  return suitingTileKernels(device, { headDim: 128, q: "f32", kv: "f32" })[0];
}

/** The kernel of many query rows that runs everywhere. The others' headers refer to its header. */
export const tileKernelOfAll = (Object.keys(TILE_KERNELS) as TileKernelName[]).at(-1)!;

/** Whether a kernel was made for a device, whatever the work. */
export function suits(name: string, device: DeviceFacts): boolean {
  return name === "merge-parts"
    ? !device.facts.software
    : isPieceKernel(name)
    ? PIECE_KERNELS[name].suits(device)
    : roleOf(name) === "tiles"
    ? TILE_KERNELS[name as TileKernelName].suits(device, Infinity)
    : true;
}
