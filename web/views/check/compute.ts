/** The work of the check's worker: reads files and compares, on whatever device it gets. */
import {
  type Attenders,
  compare,
  InputError,
  type Named,
  namedIn,
  namesIn,
  operandsOf,
  piecesOf,
  type Problem,
  ROUNDING,
  rowHops,
  sequencesFor,
  Setting,
  type TheirTensors,
} from "../../engine/comparing.ts";
import { bytesOf } from "../../lib/own/tensors.ts";
import type { Asked, OnProgress, Outcome } from "./ask.ts";
import { gapsOf, type Source } from "./names.ts";

/** The names of a file's tensors; null for .npy, and if they can't be read: the check then says why. */
export async function holdsOf(file: File): Promise<readonly string[] | null> {
  if (!/\.(npz|safetensors)$/i.test(file.name)) return null;
  try {
    return namesIn(await bytesOf(file, { InputError }), file.name);
  } catch {
    return null;
  }
}

/** Reads the files and compares. `open` gives the device. Errors: InputError; NoAdapterError. */
export async function checked(
  { files, sorted, settings }: Asked,
  open: () => Promise<Attenders>,
  onProgress: OnProgress,
): Promise<Outcome> {
  const { layout, ranks, variant, mask } = settings;
  const { inputs, kind } = sorted;
  const gap = layout === undefined ? undefined : gapsOf(sorted, ranks);
  if (gap !== undefined) throw new InputError(gap);
  let read = 0;
  const total = new Set([...Object.values(inputs), ...[...sorted.o, ...sorted.lse].map(({ file }) => file)]).size;
  const done = new Set<number>();
  const bytes = async (file: number) => {
    const found = await bytesOf(files[file], { InputError });
    if (!done.has(file)) onProgress(++read, total, "files read");
    done.add(file);
    return found;
  };
  const tensors = await inputsIn(files, inputs as Record<"q" | "k" | "v", number>, bytes);
  const operands = operandsOf(tensors);
  if (operands.doubt !== undefined) throw new InputError(operands.doubt);
  const { q, k, v, sinks, heads, kvHeads, headDim, valueDim } = operands;
  const sequences = sequencesFor(operands, undefined);
  const setting = layout === undefined ? undefined : new Setting(layout, ranks, variant, sequences);
  const sizes = { rows: operands.queryRows, heads, valueDim };
  const part = async (sources: readonly Source[], rank: number, hop: number | undefined, name: "o" | "lse") => {
    const source = sources.find((one) => kind === "theirs" || (one.rank === rank && one.hop === hop));
    return source === undefined ? undefined : await partIn(files[source.file].name, await bytes(source.file), name);
  };
  const theirs = await piecesOf(
    kind!,
    async (rank, hop): Promise<TheirTensors> => ({
      o: await part(sorted.o, rank, hop, "o"),
      lse: await part(sorted.lse, rank, hop, "lse"),
    }),
    sizes,
    setting,
    { q: "thd", o: undefined, lse: undefined },
  );
  const stored = [...operands.stored, ...theirs.stored];
  const dtype = settings.dtype ?? stored.reduce((a, b) => (ROUNDING[b] > ROUNDING[a] ? b : a));
  const problem: Problem = { q, k, v, sinks, heads, kvHeads, headDim, valueDim, sequences, mask, dtype };
  const device = await open();
  try {
    onProgress(0, theirs.pieces.length, "parts compared");
    const found = await compare({
      problem,
      pieces: theirs.pieces,
      setting,
      open: device.open,
      onProgress: (n, of) => onProgress(n, of, "parts compared"),
    });
    const hops = found.first === null ? [] : rowHops(problem, theirs.pieces, setting, found.reading, found.first);
    return { found, sizes: { sequences, heads, kvHeads, headDim, valueDim }, dtype, adapter: device.adapter, hops };
  } finally {
    await device.close();
  }
}

async function inputsIn(
  files: readonly File[],
  { q, k, v }: Record<"q" | "k" | "v", number>,
  bytes: (file: number) => Promise<Uint8Array>,
): Promise<{ q: Named; k: Named; v: Named; sinks?: Named }> {
  if (q === k && k === v) {
    return await namedIn(await bytes(q), files[q].name, { q: "q", k: "k", v: "v" }, { sinks: "sinks" });
  }
  const one = async (file: number, letter: string) =>
    (await namedIn(await bytes(file), files[file].name, { tensor: letter })).tensor;
  return { q: await one(q, "q"), k: await one(k, "k"), v: await one(v, "v") };
}

async function partIn(file: string, bytes: Uint8Array, name: "o" | "lse"): Promise<Named | undefined> {
  if (/\.npy$/i.test(file)) return (await namedIn(bytes, file, { tensor: name })).tensor;
  const found = await namedIn(bytes, file, {}, name === "o" ? { o: "o", out: "out" } : { lse: "lse" }) as {
    readonly [key: string]: Named | undefined;
  };
  return found.o ?? found.out ?? found.lse;
}
