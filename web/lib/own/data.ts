/** The visitor's own Q, K and V: the files, their contents, and which tensor a file's name means. */
import type { DType } from "../../engine/run.ts";
import type { Experiment, Field } from "../experiment/experiment.ts";

/** The three tensors. */
export const letters = ["q", "k", "v"] as const;

/** A tensor. */
export type Letter = (typeof letters)[number];

/**
 * One .safetensors with tensors q, k and v, or three .npy. The page keeps the files, not their numbers: a worker reads
 * them for each run.
 */
export type OwnFiles = { readonly tensors: File } | Readonly<Record<Letter, File>>;

/** The fields of the sentence that the files fix. */
export const shapeFields = ["T", "P", "H", "Hkv", "D"] as const satisfies readonly Field[];

/** T = rows of Q, P = rows of K minus those of Q, H and Hkv = heads of Q and K, D. */
export type OwnShape = Pick<Experiment, (typeof shapeFields)[number]>;

/** A tensor's shape and type. */
export interface TensorFacts {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** The contents of the files. */
export interface OwnFacts {
  readonly shape: OwnShape;
  /** Dv, if V's head size is not D. */
  readonly valueDim?: number;
  readonly tensors: Readonly<Record<Letter, TensorFacts>>;
  /** The tensor `sinks` of a .safetensors: a logit for each query head. */
  readonly sinks?: TensorFacts;
}

/** The visitor's data, ready to run. */
export interface OwnData {
  readonly files: OwnFiles;
  readonly facts: OwnFacts;
}

/** The file of each tensor. */
export function fileOf(files: OwnFiles, letter: Letter): File {
  return "tensors" in files ? files.tensors : files[letter];
}

/** The names of the files, in words. */
export function sayFiles(files: OwnFiles): string {
  if ("tensors" in files) return files.tensors.name;
  return `${files.q.name}, ${files.k.name} and ${files.v.name}`;
}

/** The words in file names that mean a tensor. */
export const words: Readonly<Record<string, Letter>> = {
  q: "q",
  query: "q",
  queries: "q",
  k: "k",
  key: "k",
  keys: "k",
  v: "v",
  value: "v",
  values: "v",
};

/** The tensor in a file's name, as in q.npy, layer3_k.npy, values.npy; undefined if it names none or several. */
export function letterOf(name: string): Letter | undefined {
  const said = new Set(
    name.replace(/\.npy$/i, "").toLowerCase().split(/[^a-z]+/).flatMap((
      word,
    ) => (Object.hasOwn(words, word) ? [words[word]] : [])),
  );
  return said.size === 1 ? [...said][0] : undefined;
}

/** The visitor's tensors, each with its file; sinks too, if there are any. */
export function tensorsOf(
  { files, facts }: OwnData,
): readonly (TensorFacts & { readonly name: Letter | "sinks"; readonly file: File })[] {
  return [
    ...letters.map((name) => ({ name, file: fileOf(files, name), ...facts.tensors[name] })),
    ...(facts.sinks === undefined ? [] : [{ name: "sinks" as const, file: fileOf(files, "q"), ...facts.sinks }]),
  ];
}

/** The visitor's data in a report's JSON, in place of a seed. */
export function inputsJson(data: OwnData): unknown {
  return Object.fromEntries(
    tensorsOf(data).map(({ name, file, ...facts }) => [name, {
      file: file.name,
      bytes: file.size,
      ...("tensors" in data.files ? { tensor: name } : {}),
      ...facts,
    }]),
  );
}
