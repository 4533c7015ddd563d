/** Reads tensors from files of every kind that the command line takes: .npy, .npz and .safetensors. */
import { InputError } from "../errors.ts";
import { type Named, namedIn, refuseTorch } from "../tensor/named.ts";
import { readInput } from "./io.ts";

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
  refuseTorch(path, `${option} ${path}`, /^--(theirs|shards|partials|lse)$/.test(option) ? "result" : "input");
  return await namedIn(await readInput(option, path), path, wanted, optional, `${option} ${path}`);
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
