/** The visitor's own Q, K and V: which files, what they hold, and how files are told apart by their names. */
import type { DType } from "../../engine/run.ts";
import type { Experiment, Field } from "../experiment/experiment.ts";

/** The three tensors. */
export const letters = ["q", "k", "v"] as const;

/** One of them. */
export type Letter = (typeof letters)[number];

/**
 * One .safetensors with tensors q, k and v, or three .npy. The page keeps the files and not their numbers: a worker
 * reads them when they are needed.
 */
export type OwnFiles = { readonly tensors: File } | Readonly<Record<Letter, File>>;

/** The parts of the sentence that the files fix. */
export const shapeFields = ["T", "P", "H", "Hkv", "D"] as const satisfies readonly Field[];

/** T = rows of Q, P = rows of K less those of Q, H and Hkv = heads of Q and K, D. */
export type OwnShape = Pick<Experiment, (typeof shapeFields)[number]>;

/** What the files hold. */
export interface OwnFacts {
  readonly shape: OwnShape;
  readonly tensors: Readonly<Record<Letter, { readonly shape: readonly number[]; readonly dtype: DType }>>;
}

/** Own data that can be run. */
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

const words: Readonly<Record<string, Letter>> = {
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

/**
 * The tensor that a file's name speaks of, as in q.npy, layer3_k.npy, values.npy; undefined where it names none, or
 * more than one.
 */
export function letterOf(name: string): Letter | undefined {
  const said = new Set(
    name.replace(/\.npy$/i, "").toLowerCase().split(/[^a-z]+/).flatMap((
      word,
    ) => (Object.hasOwn(words, word) ? [words[word]] : [])),
  );
  return said.size === 1 ? [...said][0] : undefined;
}

/** The own data as a report's JSON tells it, in place of a seed. */
export function inputsJson({ files, facts }: OwnData): unknown {
  return Object.fromEntries(letters.map((letter) => {
    const file = fileOf(files, letter);
    return [letter, {
      file: file.name,
      bytes: file.size,
      ...("tensors" in files ? { tensor: letter } : {}),
      ...facts.tensors[letter],
    }];
  }));
}
