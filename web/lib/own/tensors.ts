/**
 * Reads Q, K and V from the visitor's files in a worker, with the checks and messages of `ringside attend`
 * (engine/cli/tensors.ts).
 */
import type { loadEngine } from "../../engine/run.ts";
import { fileOf, type Letter, letters, type OwnFacts, type OwnFiles } from "./data.ts";

/** The tensors, their shapes and types. */
export interface OwnTensors {
  readonly q: Float32Array;
  readonly k: Float32Array;
  /** `[rows, Hkv, Dv]`. */
  readonly v: Float32Array;
  /** `[H]`. */
  readonly sinks?: Float32Array;
  readonly facts: OwnFacts;
}

/** The parts of the engine that this uses. */
export type Readers = Pick<Awaited<ReturnType<typeof loadEngine>>, "readNpy" | "readSafetensors" | "InputError">;

type Tensor = ReturnType<Readers["readNpy"]>;

/** The largest file to read, in bytes: a larger tensor does not fit a typed array. */
export const LARGEST_FILE = 2 ** 31 - 1;

const show = (shape: readonly number[]) => `[${shape.join(", ")}]`;

/** Reads and checks the files. Errors: InputError that names the file or tensor. */
export async function readOwn(files: OwnFiles, engine: Readers): Promise<OwnTensors> {
  const { InputError } = engine;
  const read = await load(files, engine);
  const name = Object.fromEntries(
    letters.map((
      letter,
    ) => [letter, "tensors" in files ? `${files.tensors.name}, tensor ${letter}` : files[letter].name]),
  ) as Record<Letter, string>;
  const requireFinite = ({ shape, data }: Tensor, name: string) => {
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw new InputError(
        `${name}: found ${data[bad]} at ${show(indexOf(bad, shape))} of shape ${
          show(shape)
        }, expected finite values only`,
      );
    }
  };
  for (const letter of letters) {
    const { shape } = read[letter];
    if (shape.length !== 3) {
      throw new InputError(`${name[letter]}: found shape ${show(shape)}, expected three axes [rows, heads, D]`);
    }
    requireFinite(read[letter], name[letter]);
  }
  const { q, k, v, sinks } = read;
  const [T, H, D] = q.shape;
  const [rows, Hkv] = k.shape;
  if (v.shape[0] !== rows || v.shape[1] !== Hkv) {
    throw new InputError(
      `${name.v}: found shape ${show(v.shape)}, expected [${rows}, ${Hkv}, Dv] for the ${show(k.shape)} of ${name.k}`,
    );
  }
  if (k.shape[2] !== D) throw new InputError(`${name.k}: found D = ${k.shape[2]}, expected D = ${D} as in ${name.q}`);
  if (T === 0) throw new InputError(`${name.q}: found no row, expected at least one new token`);
  const both = `${name.q} and ${name.k}`;
  for (const [what, heads] of [["heads (H)", H], ["KV heads (Hkv)", Hkv]] as const) {
    if (heads < 1) throw new InputError(`${both}: ${what}: found ${heads}, expected a whole number of at least 1`);
  }
  if (H % Hkv !== 0) {
    throw new InputError(
      `${both}: heads: found H = ${H} query heads and Hkv = ${Hkv} KV heads, expected H a multiple of Hkv`,
    );
  }
  const Dv = v.shape[2];
  const fits = (dim: number) => dim % 4 === 0 && dim >= 16 && dim <= 576;
  const expected = "expected a multiple of 4 from 16 to 576";
  if (!fits(D)) throw new InputError(`${both}: head dimension: found D = ${D}, ${expected}`);
  if (!fits(Dv)) throw new InputError(`${name.v}: value head dimension: found Dv = ${Dv}, ${expected}`);
  if (sinks !== undefined) {
    const sinksName = `${fileOf(files, "q").name}, tensor sinks`;
    if (show(sinks.shape) !== show([H])) {
      throw new InputError(
        `${sinksName}: found shape ${show(sinks.shape)}, expected [${H}]: a logit for each query head`,
      );
    }
    requireFinite(sinks, sinksName);
  }
  if (rows < T) {
    throw new InputError(
      `${name.k}: found ${rows} rows, expected at least the ${T} rows of ${name.q} (K holds cached and new tokens)`,
    );
  }
  const facts: OwnFacts = {
    shape: { T, P: rows - T, H, Hkv, D },
    ...(Dv === D ? {} : { valueDim: Dv }),
    tensors: {
      q: { shape: q.shape, dtype: q.dtype },
      k: { shape: k.shape, dtype: k.dtype },
      v: { shape: v.shape, dtype: v.dtype },
    },
    ...(sinks && { sinks: { shape: sinks.shape, dtype: sinks.dtype } }),
  };
  return { q: q.data, k: k.data, v: v.data, ...(sinks && { sinks: sinks.data }), facts };
}

type Read = Record<Letter, Tensor> & { readonly sinks?: Tensor };

async function load(files: OwnFiles, engine: Readers): Promise<Read> {
  if ("tensors" in files) {
    const bytes = await bytesOf(files.tensors, engine);
    try {
      return engine.readSafetensors(bytes, files.tensors.name, letters, ["sinks"]) as Read;
    } catch (error) {
      if (!(error instanceof engine.InputError && error.message.includes(': found no tensor "v";'))) throw error;
      throw new engine.InputError(
        `${error.message}; if V is the first elements of K's rows, the command line can run it: ` +
          "ringside attend --v-prefix DV",
      );
    }
  }
  const read: Partial<Record<Letter, Tensor>> = {};
  // One after the other, so that only one file's bytes are in memory.
  for (const letter of letters) {
    read[letter] = engine.readNpy(await bytesOf(fileOf(files, letter), engine), files[letter].name);
  }
  return read as Read;
}

/** The bytes of a file that somebody chose. Errors: InputError. */
export async function bytesOf(file: File, { InputError }: Pick<Readers, "InputError">): Promise<Uint8Array> {
  if (file.size > LARGEST_FILE) {
    throw new InputError(`${file.name}: found ${file.size} bytes, expected at most ${LARGEST_FILE}`);
  }
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    // A browser can read a chosen file only while the file stays unchanged.
    throw new InputError(
      `${file.name}: cannot be read (${
        error instanceof Error ? error.message : error
      }), expected the file unchanged since you chose it; choose it again`,
    );
  }
}

/** Index along each axis of element `i` in C order. */
function indexOf(i: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (const length of shape.toReversed()) {
    index.unshift(i % length);
    i = Math.floor(i / length);
  }
  return index;
}
