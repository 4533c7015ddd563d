/** Reads Q, K, V and sinks from files, and the head counts from their shapes. */
import { InputError } from "../errors.ts";
import { type Sequence } from "../layout/shards.ts";
import { type PrefixOfK, validateHeads, validateValueHead } from "../tensor/heads.ts";
import { DIMS, ordered } from "../tensor/dims.ts";
import type { DType } from "../tensor/dtype.ts";
import { readNpy } from "../tensor/npy.ts";
import { requireFinite, showShape, type Tensor } from "../tensor/tensor.ts";
import { type Named, namesOption, readNamed } from "./files.ts";
import { type Io, readInput } from "./io.ts";
import { choiceOption, wholeOption } from "./options.ts";

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
  /** B of files with such an axis: sequences of equal length; else 1. */
  readonly batch?: number;
  /** The types that the files store. */
  readonly stored: readonly DType[];
  /** What may be another order of axes than the one taken. */
  readonly doubt?: string;
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
  const { q: [qName, qRead], k: [kName, kRead], v: [vName, vRead] = [kName, undefined], sinks } = await load(options);
  const dims = choiceOption("--dims", options.dims, DIMS);
  const order = ([name, tensor]: Named) => {
    if (tensor.shape.length !== 3 && dims === undefined) {
      const four = tensor.shape.length === 4;
      throw new InputError(
        `${name}: found shape ${showShape(tensor.shape)}, expected three axes [rows, heads, D]${
          four ? ", or --dims bhtd or --dims bthd beside four" : ""
        }`,
      );
    }
    requireFinite(tensor, name);
    return ordered(tensor, dims ?? "thd", name);
  };
  const [q, k] = [order([qName, qRead]), order([kName, kRead])];
  const v = vRead && order([vName, vRead]);
  if (q.sequences !== k.sequences || (v !== undefined && v.sequences !== k.sequences)) {
    throw new InputError(`${kName}: found ${k.sequences} sequences, expected the ${q.sequences} of ${qName}`);
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
    batch: q.sequences,
    stored: [qRead, kRead, ...(vRead === undefined ? [] : [vRead])].map(({ dtype }) => dtype),
    doubt: dims === undefined && queryRows < heads ? doubtOf(qName, q.shape, keyRows, kvHeads) : undefined,
    names,
  };
}

/** Says on standard error what may be another order of axes. */
export function warnOfDoubt(io: Pick<Io, "stderr">, { doubt }: Pick<Tensors, "doubt">): void {
  if (doubt !== undefined) io.stderr(`ringside: warning: ${doubt}\n`);
}

/** Fewer rows than heads may be [H, T, D]. Undefined if that reading does not fit. */
function doubtOf(name: string, shape: readonly number[], keyRows: number, kvHeads: number): string | undefined {
  const [rows, heads] = shape;
  if (rows % keyRows !== 0 || kvHeads < heads) return undefined;
  return `${name}: shape ${showShape(shape)} was read as ${rows} tokens of ${heads} heads; ` +
    `if it is [heads, tokens, D], say --dims htd (and --dims thd if it is not)`;
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
  tensors: Pick<Tensors, "queryRows" | "keyRows"> & {
    readonly batch?: number;
    readonly names: Readonly<Record<"q" | "k", string>>;
  },
  given: readonly Sequence[] | undefined,
): readonly Sequence[] {
  const { queryRows, keyRows, batch = 1, names } = tensors;
  if (given === undefined) {
    if (keyRows < queryRows) {
      throw new InputError(
        `${names.k}: found ${keyRows} rows, expected at least the ${queryRows} rows of ${names.q} ` +
          "(K holds cached and new tokens)",
      );
    }
    const one = { new: queryRows / batch, cached: (keyRows - queryRows) / batch };
    return Array.from({ length: batch }, () => one);
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

/** The tensors that the options name. There is no V if it is part of K. */
interface Loaded {
  readonly q: Named;
  readonly k: Named;
  readonly v?: Named;
  readonly sinks?: Named;
}

async function load({ tensors, sinks, "v-prefix": prefix, ...o }: TensorOptions): Promise<Loaded> {
  const twice = (v: string) =>
    new InputError(`--v-prefix: found beside ${v}, expected one of them: with --v-prefix, V is part of K`);
  const own = o.names?.split(",").filter((part) => !/^(o|lse)=/.test(part)).join(",");
  const names = namesOption(
    own || undefined,
    { q: "q", k: "k", v: "v", sinks: "sinks" },
    wholeOption("--layer", o.layer, 0),
  );
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
