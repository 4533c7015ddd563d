/** What files are: by their names and, if a file has several tensors, by what these are called. */
import { words as inputWords } from "../../lib/own/data.ts";

/** A file. */
export interface Given {
  readonly name: string;
  /** The names of its tensors; undefined for .npy, and if they could not be read. */
  readonly holds?: readonly string[];
}

/** A tensor that the check needs. */
export type Part = "q" | "k" | "v" | "o" | "lse";

/** What a file is. */
export interface Meant {
  readonly parts: readonly Part[];
  readonly rank?: number;
  readonly hop?: number;
  /** The name with {rank} and {hop} for its numbers; undefined if the command line can't write them. */
  readonly pattern?: string;
}

/** A part of somebody's result, and the file that has it. */
export interface Source {
  readonly file: number;
  readonly rank?: number;
  readonly hop?: number;
}

/** Files, sorted. Numbers are places in the list of files. */
export interface Sorted {
  /** By file: what it is, in words. */
  readonly says: readonly string[];
  readonly inputs: Readonly<Partial<Record<"q" | "k" | "v", number>>>;
  readonly kind?: "theirs" | "shards" | "partials";
  readonly o: readonly Source[];
  readonly lse: readonly Source[];
  /** What is still to be dropped, in words. */
  readonly missing: readonly string[];
  readonly problems: readonly string[];
  /** The options of the command line for these files; undefined with the reason if their names follow no pattern. */
  readonly options?: readonly string[];
  readonly noOptions?: string;
}

const WORDS: Readonly<Record<string, Part>> = {
  ...inputWords,
  o: "o",
  out: "o",
  output: "o",
  attn: "o",
  lse: "lse",
  l: "lse",
  logsumexp: "lse",
};

const RANK = /(?<![a-z])(?:rank|shard|r)[_-]?(\d+)/i;
const HOP = /(?<![a-z])(?:hop|step|h)[_-]?(\d+)/i;
const BARE = /(?<![a-z\d])\d+(?![a-z\d])/gi;
const INPUTS = ["q", "k", "v"] as const;

/** What a file is; a text says why that can't be told. */
export function meantBy({ name, holds }: Given): Meant | string {
  if (!/\.(npy|npz|safetensors)$/i.test(name)) return `${name}: found no .npy, .npz or .safetensors`;
  const dot = name.lastIndexOf(".");
  const [stem, kind] = [name.slice(0, dot), name.slice(dot)];
  const words = stem.toLowerCase().split(/[^a-z]+/).flatMap((word) => Object.hasOwn(WORDS, word) ? [WORDS[word]] : []);
  const said = [...new Set(words)];
  const numbers = numbersIn(stem);
  const ranked = numbers.length > 0 && !(holds === undefined ? said : partsIn(holds)).some(isInput);
  const place = ranked ? placeOf(stem, kind, numbers) : { pattern: name };
  if (kind.toLowerCase() === ".npy") {
    if (said.length > 1) {
      return `${name}: found ${list(said)} in its name, expected one of q, k, v, o and lse`;
    }
    if (said.length === 0 && !ranked) return `${name}: found no q, k, v, o or lse in its name, expected one of them`;
    const marked = !ranked && (RANK.test(stem) || HOP.test(stem));
    if (marked) return `${name}: found ${said[0]} of one rank, expected ${said[0]} of all tokens`;
    return { parts: said.length === 1 ? said : ["o"], ...place };
  }
  if (holds === undefined) return `${name}: cannot be read, expected an .npz or .safetensors file`;
  const parts = partsIn(holds);
  if (parts.length === 0) {
    const some = holds.slice(0, 6).join(", ") + (holds.length > 6 ? ", …" : "");
    return `${name}: found tensors ${some || "none"}, expected q, k and v, or o and lse`;
  }
  return { parts, ...place };
}

const isInput = (part: Part) => part !== "o" && part !== "lse";

function partsIn(holds: readonly string[]): Part[] {
  const parts = (["q", "k", "v", "o", "lse"] as const).filter((part) => holds.includes(part));
  return holds.includes("out") && !parts.includes("o") ? [...parts, "o"] : parts;
}

interface Found {
  readonly is: "rank" | "hop";
  readonly text: string;
  /** Where the digits begin. */
  readonly at: number;
}

/** The numbers of a rank and a hop: marked ones or, if none is, the one or two that stand alone. */
function numbersIn(stem: string): Found[] {
  const marked = ([["rank", RANK], ["hop", HOP]] as const).flatMap(([is, pattern]): Found[] => {
    const match = pattern.exec(stem);
    return match === null ? [] : [{ is, text: match[1], at: match.index + match[0].length - match[1].length }];
  });
  if (marked.length > 0) return marked;
  const bare = [...stem.matchAll(BARE)];
  if (bare.length === 0 || bare.length > 2) return [];
  return bare.map(({ 0: text, index }, i) => ({ is: i === 0 ? "rank" : "hop", text, at: index }));
}

function placeOf(stem: string, kind: string, numbers: readonly Found[]): Omit<Meant, "parts"> {
  let pattern = stem;
  for (const { is, text, at } of numbers.toSorted((a, b) => b.at - a.at)) {
    pattern = `${pattern.slice(0, at)}{${is}}${pattern.slice(at + text.length)}`;
  }
  const plain = numbers.every(({ text }) => String(Number(text)) === text);
  const number = (is: Found["is"]) => {
    const found = numbers.find((one) => one.is === is);
    return found === undefined ? {} : { [is]: Number(found.text) };
  };
  return { ...number("rank"), ...number("hop"), ...(plain ? { pattern: pattern + kind } : {}) };
}

/** Sorts files. */
export function sortFiles(files: readonly Given[]): Sorted {
  const problems: string[] = [];
  const meant = files.map((file) => {
    const what = meantBy(file);
    if (typeof what !== "string") return what;
    problems.push(what);
    return undefined;
  });
  const inputs: Partial<Record<"q" | "k" | "v", number>> = {};
  for (const letter of INPUTS) {
    const having = meant.flatMap((what, i) => (what?.parts.includes(letter) ? [i] : []));
    if (having.length > 0) inputs[letter] = having[0];
    if (having.length > 1) problems.push(`${names(files, having)}: found ${letter} in both, expected it in one`);
  }
  // A file of everything is somebody's result only if no other is.
  const alone = meant.some((what) => what !== undefined && !what.parts.some(isInput));
  const theirs = meant.flatMap((what, file) =>
    what === undefined || (alone && what.parts.some(isInput)) ? [] : [{ file, ...what }]
  );
  const sources = (part: "o" | "lse") =>
    theirs.filter(({ parts }) => parts.includes(part)).map(({ file, rank, hop }): Source => ({ file, rank, hop }));
  const [o, lse] = [sources("o"), sources("lse")];
  for (const [part, all] of [["O", o], ["LSE", lse]] as const) {
    const seen = new Map<string, number>();
    for (const { file, rank, hop } of all) {
      const before = seen.get(`${rank} ${hop}`);
      if (before !== undefined) {
        problems.push(
          `${names(files, [before, file])}: found ${part}${sayPlace(rank, hop)} in both, expected it in one`,
        );
      }
      seen.set(`${rank} ${hop}`, file);
    }
  }
  const all = [...o, ...lse];
  const kinds = new Set(
    all.map(({ rank, hop }) => hop !== undefined ? "partials" : rank !== undefined ? "shards" : "theirs"),
  );
  if (kinds.size > 1) {
    problems.push(
      `${names(files, [...new Set([...kinds].map((kind) => all.find((one) => kindOf(one) === kind)!.file))])}: found ` +
        "results of different kinds, expected a whole result, one file for each rank, or one for each rank and hop",
    );
  }
  const noRank = all.find(({ rank, hop }) => hop !== undefined && rank === undefined);
  if (noRank !== undefined) problems.push(`${files[noRank.file].name}: found a hop without a rank in its name`);
  const letters = INPUTS.filter((letter) => inputs[letter] === undefined);
  const missing = [...(letters.length > 0 ? [list(letters)] : []), ...(all.length === 0 ? ["their result"] : [])];
  return {
    says: meant.map((what, i) => sayMeant(what, alone && theirs.every(({ file }) => file !== i))),
    inputs,
    ...(kinds.size === 1 ? { kind: [...kinds][0] as Sorted["kind"] } : {}),
    o,
    lse,
    missing,
    problems,
    ...optionsOf(files, inputs, meant, [...kinds][0], o, lse),
  };
}

const kindOf = ({ rank, hop }: Source) => hop !== undefined ? "partials" : rank !== undefined ? "shards" : "theirs";

/** The number of ranks that files by rank have; 0 if they are not by rank. */
export function ranksOf({ o, lse }: Pick<Sorted, "o" | "lse">): number {
  return Math.max(0, ...[...o, ...lse].map(({ rank }) => (rank === undefined ? 0 : rank + 1)));
}

/** What is missing of the files by rank and hop, or too much, for `ranks` ranks. */
export function gapsOf({ kind, o, lse }: Sorted, ranks: number): string | undefined {
  if (kind === undefined || kind === "theirs") return undefined;
  const found = ranksOf({ o, lse });
  if (found > ranks) return `found a file of rank ${found - 1}, expected ranks 0 to ${ranks - 1}`;
  for (const part of [o, lse]) {
    if (part.length === 0) continue;
    for (let rank = 0; rank < ranks; rank++) {
      for (let hop = 0; hop < (kind === "partials" ? ranks : 1); hop++) {
        const at = kind === "partials" ? hop : undefined;
        if (part.some((one) => one.rank === rank && one.hop === at)) continue;
        return `found no ${part === o ? "O" : "LSE"}${sayPlace(rank, at)}, expected it for each of ${ranks} ranks` +
          (kind === "partials" ? ` and ${ranks} hops` : "");
      }
    }
    const beyond = part.find(({ hop }) => (hop ?? 0) >= ranks);
    if (beyond !== undefined) return `found a file of hop ${beyond.hop}, expected hops 0 to ${ranks - 1}`;
  }
  return undefined;
}

function sayMeant(what: Meant | undefined, inputsOnly: boolean): string {
  if (what === undefined) return "not understood";
  const ins = what.parts.filter(isInput);
  const outs = inputsOnly ? [] : what.parts.filter((part) => !isInput(part));
  const theirs = list(outs.map((part) => (part === "o" ? "O" : "LSE")));
  return `${list([...ins, ...(theirs === "" ? [] : [`their ${theirs}`])])}${sayPlace(what.rank, what.hop)}`;
}

function sayPlace(rank: number | undefined, hop: number | undefined): string {
  return (rank === undefined ? "" : ` of rank ${rank}`) + (hop === undefined ? "" : `, hop ${hop}`);
}

function optionsOf(
  files: readonly Given[],
  inputs: Sorted["inputs"],
  meant: readonly (Meant | undefined)[],
  kind: string | undefined,
  o: readonly Source[],
  lse: readonly Source[],
): Pick<Sorted, "options" | "noOptions"> {
  const { q, k, v } = inputs;
  if (q === undefined || k === undefined || v === undefined || kind === undefined) return {};
  const one = (part: readonly Source[]) => {
    const patterns = new Set(part.map(({ file }) => meant[file]?.pattern));
    return patterns.size === 1 ? [...patterns][0] : undefined;
  };
  const inTensors = q === k && k === v;
  if (!inTensors && [q, k, v].some((file) => !/\.npy$/i.test(files[file].name))) {
    return { noOptions: "it needs q, k and v in one file, or in three .npy files" };
  }
  const own = inTensors
    ? ["--tensors", files[q].name]
    : ["--q", files[q].name, "--k", files[k].name, "--v", files[v].name];
  const [out, sums] = [o.length > 0 ? one(o) : "", lse.length > 0 ? one(lse) : ""];
  if (out === undefined || sums === undefined) {
    return { noOptions: "it needs one pattern for all names, with numbers that have no zeros before them" };
  }
  if (out === "") {
    return /\.npy$/i.test(sums)
      ? { noOptions: "it needs O beside an LSE in .npy" }
      : { options: [...own, `--${kind}`, sums] };
  }
  return { options: [...own, `--${kind}`, out, ...(sums === "" || sums === out ? [] : ["--lse", sums])] };
}

const names = (files: readonly Given[], some: readonly number[]) => list(some.map((i) => files[i].name));

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
