/** Reads tensors from files of every kind that the command line takes: .npy, .npz and .safetensors. */
import { InputError } from "../errors.ts";
import { readNpy } from "../tensor/npy.ts";
import { readNpz } from "../tensor/npz.ts";
import { readSafetensors } from "../tensor/safetensors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readInput } from "./io.ts";

/** A tensor, and how messages call it: its file, and its name in the file. */
export type Named = readonly [name: string, tensor: Tensor];

/** What to do with a file of PyTorch's own kind. */
const TORCH = "save its tensors with safetensors.torch.save_file({'q': q, 'k': k, 'v': v}, 'qkv.safetensors')";

/**
 * Reads some tensors of a file, by what the caller calls them. `wanted` and `optional` give each one's name in the file;
 * a .npy file has one tensor, which is the only one wanted. Errors: InputError with option, file and tensor.
 */
export async function readNamed<K extends string, O extends string = never>(
  option: string,
  path: string,
  wanted: Readonly<Record<K, string>>,
  optional: Readonly<Partial<Record<O, string>>> = {} as Readonly<Partial<Record<O, string>>>,
): Promise<Record<K, Named> & Partial<Record<O, Named>>> {
  if (/\.(pt|pth|bin|pkl)$/i.test(path)) {
    throw new InputError(`${option} ${path}: found a file of PyTorch's own kind, which can run code; ${TORCH}`);
  }
  const bytes = await readInput(option, path);
  const keys = Object.entries<string>(wanted);
  if (/\.npy$/i.test(path)) {
    if (keys.length !== 1) {
      throw new InputError(
        `${option} ${path}: found a .npy file, which holds one tensor, expected .safetensors or .npz with ${
          keys.map(([, name]) => name).join(", ")
        }`,
      );
    }
    return { [keys[0][0]]: [path, readNpy(bytes, path)] } as never;
  }
  const more = Object.entries(optional) as [string, string][];
  const names = keys.map(([, name]) => name);
  const read = /\.npz$/i.test(path)
    ? await readNpz(bytes, path, names, more.map(([, name]) => name))
    : readSafetensors(bytes, path, names, more.map(([, name]) => name));
  const found = [...keys, ...more].filter(([, name]) => Object.hasOwn(read, name));
  return Object.fromEntries(found.map(([key, name]) => [key, [`${path}, tensor ${name}`, read[name]]])) as never;
}

/** `KEY=NAME,...`: the names that tensors have in files. `{layer}` in a name stands for `--layer`. */
export function namesOption<K extends string>(
  text: string | undefined,
  defaults: Readonly<Record<K, string>>,
  layer: number | undefined,
): Record<K, string> {
  const names: Record<K, string> = { ...defaults };
  for (const part of text?.split(",") ?? []) {
    const [key, name, ...rest] = part.split("=");
    if (!Object.hasOwn(defaults, key) || name === undefined || name === "" || rest.length > 0) {
      throw new InputError(
        `--names: found ${JSON.stringify(part)}, expected KEY=NAME with a key of ${
          Object.keys(defaults).join(", ")
        }, such as q=layers.{layer}.q`,
      );
    }
    names[key as K] = name;
  }
  const layered = Object.values<string>(names).some((name) => name.includes("{layer}"));
  if (layered !== (layer !== undefined)) {
    throw new InputError(
      layered
        ? "--names: found {layer} without --layer, expected the number of a layer"
        : `--layer: found ${layer}, but no name has {layer}; expected --names q=layers.{layer}.q,... beside it`,
    );
  }
  for (const key of Object.keys(names) as K[]) names[key] = names[key].replaceAll("{layer}", String(layer));
  return names;
}
