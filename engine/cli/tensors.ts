/** Reads Q, K, V and sinks from files, and the head counts from their shapes. */
import { InputError } from "../errors.ts";
import { type Loaded, type Operands, operandsOf, sinksOf } from "../reference/compare/operands.ts";
import { DIMS } from "../tensor/dims.ts";
import type { PrefixOfK } from "../tensor/heads.ts";
import type { Named } from "../tensor/named.ts";
import { readNpy } from "../tensor/npy.ts";
import { namesOption, readNamed } from "./files.ts";
import { type Io, readInput } from "./io.ts";
import { choiceOption, wholeOption } from "./options.ts";

/** The files: one .safetensors, or one .npy for each tensor. */
export interface TensorOptions {
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly tensors?: string;
  readonly sinks?: string;
  readonly "v-prefix"?: string;
  readonly dims?: string;
  readonly names?: string;
  readonly layer?: string;
}

/** The options above, for parseOptions. */
export const TENSOR_OPTIONS = {
  q: { type: "string" },
  k: { type: "string" },
  v: { type: "string" },
  tensors: { type: "string" },
  sinks: { type: "string" },
  "v-prefix": { type: "string" },
  dims: { type: "string" },
  names: { type: "string" },
  layer: { type: "string" },
} as const;

/** What helps somebody whose file has no V. */
const IN_KEYS = "if V is the first elements of K's rows, give --v-prefix DV";

/** `--v-prefix`, for keys of head size `headDim`. */
export function prefixOption(text: string | undefined, headDim: number): PrefixOfK | undefined {
  const prefixOfK = wholeOption("--v-prefix", text, 1);
  if (prefixOfK === undefined) return undefined;
  if (prefixOfK % 4 !== 0 || prefixOfK < 16 || prefixOfK > headDim) {
    throw new InputError(
      `--v-prefix: found ${JSON.stringify(text)}, expected a multiple of 4 from 16 to K's D = ${headDim}`,
    );
  }
  return { prefixOfK };
}

/** `--sinks`: a logit for each of `heads` query heads. */
export async function sinksOption(path: string | undefined, heads: number): Promise<Float32Array | undefined> {
  return path === undefined ? undefined : sinksOf([path, readNpy(await readInput("--sinks", path), path)], heads);
}

/** Reads the tensors and checks them. Errors: InputError with the file or tensor. */
export async function readTensors(options: TensorOptions): Promise<Operands> {
  const loaded = await load(options);
  const dims = choiceOption("--dims", options.dims, DIMS);
  const { sinks: path, "v-prefix": prefix } = options;
  const own = path === undefined ? undefined : [path, readNpy(await readInput("--sinks", path), path)] as const;
  return operandsOf(own === undefined ? loaded : { ...loaded, sinks: own }, dims, (D) => prefixOption(prefix, D));
}

/** Says on standard error what may be another order of axes. */
export function warnOfDoubt(io: Pick<Io, "stderr">, { doubt }: Pick<Operands, "doubt">): void {
  if (doubt !== undefined) io.stderr(`ringside: warning: ${doubt}\n`);
}

async function load({ tensors, sinks, "v-prefix": prefix, ...o }: TensorOptions): Promise<Loaded> {
  const twice = (v: string) =>
    new InputError(`--v-prefix: found beside ${v}, expected one of them: with --v-prefix, V is part of K`);
  const own = o.names?.split(",").filter((part) => !/^(o|lse)=/.test(part)).join(",");
  // The names of O and LSE may have the only {layer}: compare-read.ts reads them.
  const elsewhere = o.names?.includes("{layer}") && !own?.includes("{layer}");
  const layer = elsewhere ? undefined : wholeOption("--layer", o.layer, 0);
  const names = namesOption(own || undefined, { q: "q", k: "k", v: "v", sinks: "sinks" }, layer);
  if (tensors !== undefined) {
    if (o.q !== undefined || o.k !== undefined || o.v !== undefined) {
      throw new InputError("--tensors: found beside --q, --k or --v, expected one or the other");
    }
    const { q, k, v, sinks: logits } = names;
    const optional: Partial<Record<"v" | "sinks", string>> = sinks === undefined ? { v, sinks: logits } : { v };
    const read = await hinting(
      v,
      () =>
        prefix === undefined
          ? readNamed("--tensors", tensors, { q, k, v }, optional)
          : readNamed("--tensors", tensors, { q, k }, optional),
    );
    if (prefix !== undefined && read.v !== undefined) throw twice(read.v[0]);
    return read as Loaded;
  }
  if (o.v !== undefined && prefix !== undefined) throw twice("--v");
  const one = async (option: "q" | "k" | "v"): Promise<Named> => {
    const path = o[option];
    if (path === undefined) {
      throw new InputError(
        `--${option}: not given, expected --q, --k and --v (.npy), or --tensors (.safetensors)` +
          (option === "v" ? `; ${IN_KEYS}` : ""),
      );
    }
    return (await readNamed(`--${option}`, path, { tensor: names[option] })).tensor;
  };
  return { q: await one("q"), k: await one("k"), ...(prefix === undefined && { v: await one("v") }) };
}

/** Adds what to do if a file has no V. */
async function hinting<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof InputError && error.message.includes(`found no tensor ${JSON.stringify(name)};`))) {
      throw error;
    }
    throw new InputError(`${error.message}; ${IN_KEYS}`);
  }
}
