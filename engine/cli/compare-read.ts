/** The options that name somebody's result, and the reading of its files. */
import { InputError } from "../errors.ts";
import type { Setting } from "../reference/compare/setting.ts";
import { type GivenDims, piecesOf, type Sizes, type TheirTensors } from "../reference/compare/theirs.ts";
import { namesOption, readNamed } from "./files.ts";
import { wholeOption } from "./options.ts";

/** The options that name their files. */
export interface TheirOptions {
  readonly theirs?: string;
  readonly shards?: string;
  readonly partials?: string;
  readonly lse?: string;
  readonly names?: string;
  readonly layer?: string;
}

const KINDS = ["theirs", "shards", "partials"] as const;

/** Throws InputError unless one kind of result is given, with the marks that it needs. */
export function requireOneTheirs(o: TheirOptions): void {
  const given = KINDS.filter((kind) => o[kind] !== undefined);
  if (given.length !== 1) {
    throw new InputError(
      given.length === 0
        ? "--theirs: not given, expected --theirs F, --shards PATTERN or --partials PATTERN"
        : `--${given[1]}: found beside --${given[0]}, expected one of them`,
    );
  }
  const marks: readonly string[] = { theirs: [], shards: ["{rank}"], partials: ["{rank}", "{hop}"] }[given[0]];
  for (const option of [given[0], "lse"] as const) {
    const text = o[option];
    if (text === undefined) continue;
    for (const mark of ["{rank}", "{hop}"]) {
      if (marks.includes(mark) !== text.includes(mark)) {
        throw new InputError(
          `--${option} ${text}: found ${marks.includes(mark) ? "no" : "a"} ${mark}, expected ${
            marks.length === 0 ? "one file" : `a pattern with ${marks.join(" and ")}`
          }`,
        );
      }
    }
  }
}

/** Their pieces, and the types that the files store. */
export function theirPieces(
  o: TheirOptions,
  sizes: Sizes,
  setting: Setting | undefined,
  dims: GivenDims,
): ReturnType<typeof piecesOf> {
  const own = theirNames(o.names);
  const layer = own?.includes("{layer}") ? wholeOption("--layer", o.layer, 0) : undefined;
  const names = namesOption(own, { o: "o", lse: "lse" }, layer);
  const kind = KINDS.find((one) => o[one] !== undefined)!;
  const read = (rank: number, hop: number | undefined) => {
    const fill = (text: string) => text.replaceAll("{rank}", String(rank)).replaceAll("{hop}", String(hop));
    return readPiece(kind, fill(o[kind]!), o.lse && fill(o.lse), names);
  };
  return piecesOf(kind, read, sizes, setting, dims);
}

/** The names of O and LSE alone. */
function theirNames(names: string | undefined): string | undefined {
  const own = names?.split(",").filter((part) => /^(o|lse)=/.test(part)).join(",");
  return own === "" ? undefined : own;
}

async function readPiece(
  kind: string,
  path: string,
  lsePath: string | undefined,
  names: Readonly<Record<"o" | "lse", string>>,
): Promise<TheirTensors> {
  const own = /\.npy$/i.test(path)
    ? { o: (await readNamed(`--${kind}`, path, { o: names.o })).o, out: undefined, lse: undefined }
    : await readNamed(`--${kind}`, path, {}, { o: names.o, out: "out", lse: names.lse });
  const o = own.o ?? own.out;
  const lse = lsePath === undefined ? own.lse : (await readNamed("--lse", lsePath, { lse: names.lse })).lse;
  if (o === undefined && lse === undefined) {
    throw new InputError(
      `--${kind} ${path}: found no tensor ${names.o} and no ${names.lse}, expected one of them; --names o=...,lse=... ` +
        "says what they are called",
    );
  }
  return { o, lse };
}
