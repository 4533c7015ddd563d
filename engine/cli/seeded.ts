/** Seeded inputs on the command line: a seed and a shape instead of files. */
import { InputError } from "../errors.ts";
import type { Sequence } from "../layout/shards.ts";
import { type Operands, sequencesFor } from "../reference/compare/operands.ts";
import type { SeededBatch } from "../reference/verify/types.ts";
import { type PrefixOfK, validateHeads, valueHead } from "../tensor/heads.ts";
import { seededKey, seededPart } from "../tensor/seeded.ts";
import { Turns } from "../turns.ts";
import { readTokens, wholeOption } from "./options.ts";
import { prefixOption } from "./tensors.ts";

/** A seeded run without its tensors. */
export interface Seeded extends Pick<SeededBatch, "seed" | "sequences" | "heads" | "kvHeads" | "headDim"> {
  /** Where V lies in K; if not given, the seed makes V too. */
  readonly v?: PrefixOfK;
}

/**
 * `--seed S --shape T[:P],H,Hkv,D`; `--sequences` divides it like files, and with `--v-prefix` the seed makes Q and K
 * only. Undefined if neither seed nor shape is given.
 */
export function seededOption(
  seed: string | undefined,
  shape: string | undefined,
  sequences: readonly Sequence[] | undefined,
  prefix?: string,
): Seeded | undefined {
  if (seed === undefined && shape === undefined) return undefined;
  if (seed === undefined || shape === undefined) {
    throw new InputError(
      `${seed === undefined ? "--shape" : "--seed"}: found alone, expected --seed S and --shape T[:P],H,Hkv,D together`,
    );
  }
  // T, perhaps P, then H, Hkv and D.
  const parts = /^([^:,]+)(?::([^:,]+))?,([^:,]+),([^:,]+),([^:,]+)$/.exec(shape)?.slice(1) ?? [""];
  const [fresh, cached, heads, kvHeads, headDim] = parts.map((
    part,
  ) => (part === undefined ? 0 : readTokens(part) ?? NaN));
  if (![fresh, cached, heads, kvHeads, headDim].every(Number.isSafeInteger)) {
    throw new InputError(
      `--shape: found ${JSON.stringify(shape)}, expected T[:P],H,Hkv,D such as 128k,16,1,128 or 512:1536,8,2,64`,
    );
  }
  validateHeads(heads, kvHeads, headDim);
  if (fresh === 0) throw new InputError("--shape: found T = 0, expected at least one new token");
  const rows = { queryRows: fresh, keyRows: fresh + cached, names: { q: "--shape", k: "--shape" } };
  const v = prefixOption(prefix, headDim);
  return {
    seed: wholeOption("--seed", seed, 0, 2 ** 32 - 1)!,
    sequences: sequencesFor(rows, sequences),
    heads,
    kvHeads,
    headDim,
    ...(v && { v }),
  };
}

/** The tensors of a seeded run. Ctrl-C ends their making. */
export async function seededTensors(
  { seed, sequences, heads, kvHeads, headDim, v: prefix }: Seeded,
  signal: AbortSignal,
): Promise<Operands> {
  const queryRows = sequences.reduce((sum, s) => sum + s.new, 0);
  const keyRows = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  const most = Math.max(queryRows * heads, keyRows * kvHeads) * headDim;
  if (most > 2 ** 29) {
    throw new InputError(
      `--shape: found a tensor of ${most} elements, expected at most ${2 ** 29} if this machine makes the tensors: ` +
        "run it with --remote, and use --verify-rows instead of --check, --out and --lse",
    );
  }
  const turns = new Turns(signal);
  const make = async (name: "q" | "k" | "v", rows: number, h: number) => {
    const [columns, key] = [h * headDim, seededKey(seed, name)];
    const out = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      await turns.next();
      seededPart(out, row * columns, key, row, 0, columns);
    }
    return out;
  };
  const [q, k, v] = [
    await make("q", queryRows, heads),
    await make("k", keyRows, kvHeads),
    prefix ?? await make("v", keyRows, kvHeads),
  ];
  return {
    q,
    k,
    v,
    heads,
    kvHeads,
    headDim,
    valueDim: valueHead({ headDim, v: prefix }).valueDim,
    queryRows,
    keyRows,
    stored: ["f32"],
    names: { q: "seeded q", k: "seeded k", v: prefix === undefined ? "seeded v" : "seeded k", sinks: "--sinks" },
  };
}
