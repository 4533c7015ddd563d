/** Reads Q, K, V and sinks from files, and the head counts from their shapes. */
import { InputError } from "../errors.ts";
import { type Sequence } from "../layout/shards.ts";
import { type PrefixOfK, validateHeads, validateValueHead } from "../tensor/heads.ts";
import { readNpy } from "../tensor/npy.ts";
import { readSafetensors } from "../tensor/safetensors.ts";
import { requireFinite, showShape, type Tensor } from "../tensor/tensor.ts";
import { readInput } from "./io.ts";
import { wholeOption } from "./options.ts";

/** The tensors, and the sizes that their shapes give. */
export interface Tensors {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array | PrefixOfK;
  /** f32 `[H]`. */
  readonly sinks?: Float32Array;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly queryRows: number;
  readonly keyRows: number;
  /** For messages: the file of each tensor, and the tensor's name in it. */
  readonly names: Readonly<Record<"q" | "k" | "v" | "sinks", string>>;
}

/** The files: one .safetensors, or one .npy for each tensor. */
export interface TensorOptions {
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly tensors?: string;
  readonly sinks?: string;
  readonly "v-prefix"?: string;
}

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
  return path === undefined ? undefined : sinksOf(readNpy(await readInput("--sinks", path), path), path, heads);
}

function sinksOf(tensor: Tensor, name: string, heads: number): Float32Array {
  if (tensor.shape.length !== 1 || tensor.shape[0] !== heads) {
    throw new InputError(
      `${name}: found shape ${showShape(tensor.shape)}, expected [${heads}]: a logit for each query head`,
    );
  }
  requireFinite(tensor, name);
  return tensor.data;
}

/** Reads the tensors and checks them. Errors: InputError with the file or tensor. */
export async function readTensors(options: TensorOptions): Promise<Tensors> {
  const { q: [qName, q], k: [kName, k], v: [vName, v] = [kName, undefined], sinks } = await load(options);
  for (const [name, tensor] of [[qName, q], [kName, k], ...(v === undefined ? [] : [[vName, v] as const])] as const) {
    if (tensor.shape.length !== 3) {
      throw new InputError(`${name}: found shape ${showShape(tensor.shape)}, expected three axes [rows, heads, D]`);
    }
    requireFinite(tensor, name);
  }
  const [queryRows, heads, headDim] = q.shape;
  const [keyRows, kvHeads] = k.shape;
  if (v !== undefined && (v.shape[0] !== keyRows || v.shape[1] !== kvHeads)) {
    throw new InputError(
      `${vName}: found shape ${showShape(v.shape)}, expected [${keyRows}, ${kvHeads}, Dv] for the ${
        showShape(k.shape)
      } of ${kName}`,
    );
  }
  if (k.shape[2] !== headDim) {
    throw new InputError(`${kName}: found D = ${k.shape[2]}, expected D = ${headDim} as in ${qName}`);
  }
  if (queryRows === 0) throw new InputError(`${qName}: found no row, expected at least one new token`);
  const names = { q: qName, k: kName, v: vName, sinks: options.sinks ?? sinks?.[0] ?? "sinks" };
  naming(names, () => validateHeads(heads, kvHeads, headDim));
  const prefix = prefixOption(options["v-prefix"], headDim);
  const valueDim = prefix?.prefixOfK ?? v!.shape[2];
  naming(names, () => validateValueHead({ headDim, valueDim }), ["v"]);
  return {
    q: q.data,
    k: k.data,
    v: prefix ?? v!.data,
    sinks: await sinksOption(options.sinks, heads) ?? (sinks && sinksOf(sinks[1], sinks[0], heads)),
    heads,
    kvHeads,
    headDim,
    valueDim,
    queryRows,
    keyRows,
    names,
  };
}

/**
 * Runs a check of the engine, which calls tensors by their letters, and puts the files' names into its errors; those of
 * `about` if an error names no tensor.
 */
export function naming(
  names: Tensors["names"],
  checks: () => void,
  about: readonly (keyof Tensors["names"])[] = ["q", "k"],
): void {
  try {
    checks();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const letters = /^([qkv]|sinks)(?: and ([qkv]))?: /.exec(error.message);
    const found = letters?.slice(1).filter((letter) => letter !== undefined) as typeof about | undefined;
    const of = error.message.slice(letters?.[0].length ?? 0);
    throw new InputError(`${(found ?? about).map((letter) => names[letter]).join(" and ")}: ${of}`);
  }
}

/**
 * The batch. If given, its row counts must match exactly. Otherwise it is one sequence, and the rows that K has beyond
 * Q's are its cached rows.
 */
export function sequencesFor(
  tensors: Pick<Tensors, "queryRows" | "keyRows"> & { readonly names: Readonly<Record<"q" | "k", string>> },
  given: readonly Sequence[] | undefined,
): readonly Sequence[] {
  const { queryRows, keyRows, names } = tensors;
  if (given === undefined) {
    if (keyRows < queryRows) {
      throw new InputError(
        `${names.k}: found ${keyRows} rows, expected at least the ${queryRows} rows of ${names.q} ` +
          "(K holds cached and new tokens)",
      );
    }
    return [{ new: queryRows, cached: keyRows - queryRows }];
  }
  const fresh = given.reduce((sum, s) => sum + s.new, 0);
  const all = given.reduce((sum, s) => sum + s.new + s.cached, 0);
  if (fresh !== queryRows) {
    throw new InputError(`--sequences: found ${fresh} new tokens in all, expected the ${queryRows} rows of ${names.q}`);
  }
  if (all !== keyRows) {
    throw new InputError(
      `--sequences: found ${all} new and cached tokens in all, expected the ${keyRows} rows of ${names.k}`,
    );
  }
  return given;
}

type Named = readonly [name: string, tensor: Tensor];

/** The tensors that the options name. There is no V if it is part of K. */
interface Loaded {
  readonly q: Named;
  readonly k: Named;
  readonly v?: Named;
  readonly sinks?: Named;
}

async function load({ tensors, sinks, "v-prefix": prefix, ...paths }: TensorOptions): Promise<Loaded> {
  const twice = (v: string) =>
    new InputError(`--v-prefix: found beside ${v}, expected one of them: with --v-prefix, V is part of K`);
  if (tensors !== undefined) {
    if (paths.q !== undefined || paths.k !== undefined || paths.v !== undefined) {
      throw new InputError("--tensors: found beside --q, --k or --v, expected one or the other");
    }
    const bytes = await readInput("--tensors", tensors);
    const optional = sinks === undefined ? ["sinks", "v"] : ["v"];
    const read = hinting(() =>
      readSafetensors(bytes, tensors, prefix === undefined ? ["q", "k", "v"] : ["q", "k"], optional)
    );
    const named = (tensor: string): Named => [`${tensors}, tensor ${tensor}`, read[tensor]];
    if (prefix !== undefined && "v" in read) throw twice(named("v")[0]);
    return {
      q: named("q"),
      k: named("k"),
      ...("v" in read && { v: named("v") }),
      ...("sinks" in read && { sinks: named("sinks") }),
    };
  }
  if (paths.v !== undefined && prefix !== undefined) throw twice("--v");
  const one = async (option: "q" | "k" | "v"): Promise<Named> => {
    const path = paths[option];
    if (path === undefined) {
      throw new InputError(
        `--${option}: not given, expected --q, --k and --v (.npy), or --tensors (.safetensors)` +
          (option === "v" ? `; ${IN_KEYS}` : ""),
      );
    }
    return [path, readNpy(await readInput(`--${option}`, path), path)];
  };
  return { q: await one("q"), k: await one("k"), ...(prefix === undefined && { v: await one("v") }) };
}

/** Adds what to do if a file has no tensor v. */
function hinting(read: () => Record<string, Tensor>): Record<string, Tensor> {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof InputError && error.message.includes(': found no tensor "v";'))) throw error;
    throw new InputError(`${error.message}; ${IN_KEYS}`);
  }
}
