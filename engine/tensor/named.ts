/** Tensors by name in the bytes of a file of any kind that Ringside reads: .npy, .npz and .safetensors. */
import { InputError } from "../errors.ts";
import { namesInNpz, readNpz } from "./npz.ts";
import { readNpy } from "./npy.ts";
import { namesInSafetensors, readSafetensors } from "./safetensors.ts";
import type { Tensor } from "./tensor.ts";

/** A tensor, and how messages call it: its file, and its name in the file. */
export type Named = readonly [name: string, tensor: Tensor];

/** What to do with a file of PyTorch's own kind. */
const TORCH = {
  input: "save its tensors with safetensors.torch.save_file({'q': q, 'k': k, 'v': v}, 'qkv.safetensors')",
  result: "save its tensors with safetensors.torch.save_file({'o': o, 'lse': lse}, 'out.safetensors')",
};

/** Throws InputError if a file is of PyTorch's own kind; `label` names it, `holds` says what it should hold. */
export function refuseTorch(file: string, label = file, holds: keyof typeof TORCH = "input"): void {
  if (/\.(pt|pth|bin|pkl)$/i.test(file)) {
    throw new InputError(`${label}: found a file of PyTorch's own kind, which can run code; ${TORCH[holds]}`);
  }
}

/**
 * Reads some tensors of a file called `file`, by what the caller calls them. `wanted` and `optional` give each one's
 * name in the file; a .npy file has one tensor, which is the only one wanted. `label` names the file in messages about
 * its kind. Errors: InputError with file and tensor.
 */
export async function namedIn<K extends string, O extends string = never>(
  bytes: Uint8Array,
  file: string,
  wanted: Readonly<Record<K, string>>,
  optional: Readonly<Partial<Record<O, string>>> = {} as Readonly<Partial<Record<O, string>>>,
  label = file,
): Promise<Record<K, Named> & Partial<Record<O, Named>>> {
  const keys = Object.entries<string>(wanted);
  if (/\.npy$/i.test(file)) {
    if (keys.length !== 1) {
      throw new InputError(
        `${label}: found a .npy file, which holds one tensor, expected .safetensors or .npz with ${
          keys.map(([, name]) => name).join(", ")
        }`,
      );
    }
    return { [keys[0][0]]: [file, readNpy(bytes, file)] } as never;
  }
  const more = Object.entries(optional) as [string, string][];
  const names = keys.map(([, name]) => name);
  const read = /\.npz$/i.test(file)
    ? await readNpz(bytes, file, names, more.map(([, name]) => name))
    : readSafetensors(bytes, file, names, more.map(([, name]) => name));
  const found = [...keys, ...more].filter(([, name]) => Object.hasOwn(read, name));
  return Object.fromEntries(found.map(([key, name]) => [key, [`${file}, tensor ${name}`, read[name]]])) as never;
}

/** The names of the tensors in an .npz or .safetensors file. Errors: InputError. */
export function namesIn(bytes: Uint8Array, file: string): string[] {
  return /\.npz$/i.test(file) ? namesInNpz(bytes, file) : namesInSafetensors(bytes, file);
}
