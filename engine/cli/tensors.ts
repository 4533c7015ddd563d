/** Reads Q, K and V from files, and the head counts from their shapes. */
import { InputError } from "../errors.ts";
import { type Sequence } from "../layout/shards.ts";
import { validateHeads } from "../tensor/heads.ts";
import { readNpy } from "../tensor/npy.ts";
import { readSafetensors } from "../tensor/safetensors.ts";
import { requireFinite, showShape, type Tensor } from "../tensor/tensor.ts";
import { readInput } from "./io.ts";

/** The three tensors, and the sizes that their shapes give. */
export interface Tensors {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly queryRows: number;
  readonly keyRows: number;
  /** For messages: the file of each tensor, and the tensor's name in it. */
  readonly names: Readonly<Record<"q" | "k" | "v", string>>;
}

/** The files: one .safetensors, or three .npy. */
export interface TensorOptions {
  readonly q?: string;
  readonly k?: string;
  readonly v?: string;
  readonly tensors?: string;
}

/** Reads the tensors and checks them. Errors: InputError with the file or tensor. */
export async function readTensors(options: TensorOptions): Promise<Tensors> {
  const named = await load(options);
  for (const [name, tensor] of named) {
    if (tensor.shape.length !== 3) {
      throw new InputError(`${name}: found shape ${showShape(tensor.shape)}, expected three axes [rows, heads, D]`);
    }
    requireFinite(tensor, name);
  }
  const [[qName, q], [kName, k], [vName, v]] = named;
  const [queryRows, heads, headDim] = q.shape;
  const [keyRows, kvHeads] = k.shape;
  if (showShape(k.shape) !== showShape(v.shape)) {
    throw new InputError(
      `${vName}: found shape ${showShape(v.shape)}, expected that of ${kName}, ${showShape(k.shape)}`,
    );
  }
  if (k.shape[2] !== headDim) {
    throw new InputError(`${kName}: found D = ${k.shape[2]}, expected D = ${headDim} as in ${qName}`);
  }
  if (queryRows === 0) throw new InputError(`${qName}: found no row, expected at least one new token`);
  const names = { q: qName, k: kName, v: vName };
  naming(names, () => validateHeads(heads, kvHeads, headDim));
  return { q: q.data, k: k.data, v: v.data, heads, kvHeads, headDim, queryRows, keyRows, names };
}

/** Runs a check of the engine, which calls tensors by their letters, and puts the files' names into its errors. */
export function naming(names: Tensors["names"], checks: () => void): void {
  try {
    checks();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const letters = /^([qkv])(?: and ([qkv]))?: /.exec(error.message);
    const [about, of] = letters === null
      ? [["q", "k"], error.message]
      : [letters.slice(1), error.message.slice(letters[0].length)];
    throw new InputError(
      `${
        about.filter((letter) => letter !== undefined).map((letter) => names[letter as keyof typeof names]).join(
          " and ",
        )
      }: ${of}`,
    );
  }
}

/**
 * The batch. If given, its row counts must match exactly. Otherwise it is one sequence, and the rows that K has beyond
 * Q's are its cached rows.
 */
export function sequencesFor(
  tensors: Pick<Tensors, "queryRows" | "keyRows" | "names">,
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

async function load({ q, k, v, tensors }: TensorOptions): Promise<[string, Tensor][]> {
  if (tensors !== undefined) {
    if (q !== undefined || k !== undefined || v !== undefined) {
      throw new InputError("--tensors: found beside --q, --k or --v, expected one or the other");
    }
    const read = readSafetensors(await readInput("--tensors", tensors), tensors, ["q", "k", "v"]);
    return ["q", "k", "v"].map((name) => [`${tensors}, tensor ${name}`, read[name]]);
  }
  const paths = { q, k, v };
  const loaded: [string, Tensor][] = [];
  for (const [name, path] of Object.entries(paths)) {
    if (path === undefined) {
      throw new InputError(`--${name}: not given, expected --q, --k and --v (.npy), or --tensors (.safetensors)`);
    }
    loaded.push([path, readNpy(await readInput(`--${name}`, path), path)]);
  }
  return loaded;
}
