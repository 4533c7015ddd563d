/** Q, K, V and sinks from somebody's files: their axes, checks, and the sizes that their shapes give. */
import { InputError } from "../../errors.ts";
import type { Sequence } from "../../layout/shards.ts";
import { type Dims, ordered } from "../../tensor/dims.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type PrefixOfK, validateHeads, validateValueHead } from "../../tensor/heads.ts";
import type { Named } from "../../tensor/named.ts";
import { requireFinite, showShape } from "../../tensor/tensor.ts";

/** The tensors that were read. There is no V if it is part of K. */
export interface Loaded {
  readonly q: Named;
  readonly k: Named;
  readonly v?: Named;
  readonly sinks?: Named;
}

/** The tensors, and the sizes that their shapes give. */
export interface Operands {
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

/**
 * Checks the tensors and moves their axes to the engine's order: `dims`, or thd. `prefix` says how much of K's rows is
 * V, for their D. Errors: InputError with the file or tensor.
 */
export function operandsOf(
  { q: [qName, qRead], k: [kName, kRead], v: values, sinks }: Loaded,
  dims?: Dims,
  prefix?: (headDim: number) => PrefixOfK | undefined,
): Operands {
  const [vName, vRead] = values ?? [kName];
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
  const names = { q: qName, k: kName, v: vName, sinks: sinks?.[0] ?? "sinks" };
  naming(names, () => validateHeads(heads, kvHeads, headDim));
  const inKeys = prefix?.(headDim);
  const valueDim = inKeys?.prefixOfK ?? v!.shape[2];
  naming(names, () => validateValueHead({ headDim, valueDim }), ["v"]);
  return {
    q: q.data,
    k: k.data,
    v: inKeys ?? v!.data,
    sinks: sinks && sinksOf(sinks, heads),
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

/** A logit for each of `heads` query heads. Errors: InputError. */
export function sinksOf([name, tensor]: Named, heads: number): Float32Array {
  if (tensor.shape.length !== 1 || tensor.shape[0] !== heads) {
    throw new InputError(
      `${name}: found shape ${showShape(tensor.shape)}, expected [${heads}]: a logit for each query head`,
    );
  }
  requireFinite(tensor, name);
  return tensor.data;
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
  names: Operands["names"],
  checks: () => void,
  about: readonly (keyof Operands["names"])[] = ["q", "k"],
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
  tensors: Pick<Operands, "queryRows" | "keyRows"> & {
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
