/** `ringside compare`: checks somebody's result, and says what is wrong first and why. */
import { InputError } from "../errors.ts";
import { LAYOUT_NAMES } from "../layout/catalog.ts";
import { maskFrom } from "../layout/mask.ts";
import { attenders } from "../reference/compare/attender.ts";
import { compare as compareResults } from "../reference/compare/compare.ts";
import { sequencesFor } from "../reference/compare/operands.ts";
import type { Problem } from "../reference/compare/problem.ts";
import { Setting } from "../reference/compare/setting.ts";
import { DIMS, LSE_DIMS } from "../tensor/dims.ts";
import { ROUNDING } from "../tensor/dtype.ts";
import { comparisonText } from "./compare-report.ts";
import { requireOneTheirs, theirPieces } from "./compare-read.ts";
import { INPUTS, OPTION, optionLines } from "./help.ts";
import type { Command } from "./io.ts";
import {
  choiceOption,
  MASK_OPTIONS,
  maskOption,
  numberOption,
  parseOptions,
  sequencesOption,
  wholeOption,
} from "./options.ts";
import { progressLine } from "./progress.ts";
import { readTensors, TENSOR_OPTIONS } from "./tensors.ts";

const HELP = `ringside compare: finds what is wrong in somebody's attention, where it begins, and why

  ringside compare --tensors F.safetensors --theirs OUT.safetensors [options]
  ringside compare --tensors F.safetensors --shards 'o_{rank}.npy' --layout te --ranks 8
  ringside compare --tensors F.safetensors --partials 'p_{rank}_{hop}.npz' --layout te --ranks 4

The problem
${
  optionLines(
    ...INPUTS,
    OPTION.sequences,
    OPTION.mask,
    OPTION.sinkTokens,
    OPTION.scale,
  )
}

Their result: .safetensors or .npz with o and lse (either may be missing), or .npy of O
${
  optionLines(
    ["--theirs F", "O and LSE of all tokens, in the order of q"],
    ["--shards PATTERN", "the same of each rank: {rank} stands for 0 to N-1, rows in the order of its shard"],
    ["--partials PATTERN", "a rank's partial results: {rank} and {hop} stand for 0 to N-1"],
    ["--lse F", "LSE, if it is in separate files, by the same pattern"],
    ["--theirs-dims D", "the axes of O, if they are not those of q: thd, htd, bhtd or bthd"],
    ["--lse-dims D", "the axes of LSE: th, ht, bht or bht1, where its shape fits several"],
    ["--layout L", `who holds which token: ${LAYOUT_NAMES.join(", ")}`],
    ["--ranks N", "context-parallel ranks"],
    ["--variant V", "whose partials they are: pass-kv (default) or pass-q"],
    ["--dtype E", "the type that they computed or rounded in: f32, f16 or bf16 (default: the narrowest in the files)"],
  )
}

Output
${optionLines(OPTION.backend, OPTION.json, OPTION.runtime)}

Exit status: 0 it agrees, 1 it differs, 2 it cannot be read.
`;

/** The command. */
export const compare: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    ...TENSOR_OPTIONS,
    sequences: { type: "string" },
    ...MASK_OPTIONS,
    "no-causal": { type: "boolean" },
    scale: { type: "string" },
    theirs: { type: "string" },
    shards: { type: "string" },
    partials: { type: "string" },
    lse: { type: "string" },
    "theirs-dims": { type: "string" },
    "lse-dims": { type: "string" },
    layout: { type: "string" },
    ranks: { type: "string" },
    variant: { type: "string" },
    dtype: { type: "string" },
    backend: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  requireOneTheirs(o);
  const ranks = wholeOption("--ranks", o.ranks, 1, 1024);
  const variant = choiceOption("--variant", o.variant, ["pass-kv", "pass-q"]) ?? "pass-kv";
  const dtype = choiceOption("--dtype", o.dtype, ["f32", "f16", "bf16"]);
  const backend = choiceOption("--backend", o.backend, ["webgpu", "cpu"]) ?? "webgpu";
  const dims = {
    q: choiceOption("--dims", o.dims, DIMS) ?? "thd",
    o: choiceOption("--theirs-dims", o["theirs-dims"], DIMS),
    lse: choiceOption("--lse-dims", o["lse-dims"], LSE_DIMS),
  };
  if ((o.layout === undefined) !== (ranks === undefined)) {
    throw new InputError(
      o.layout === undefined
        ? `--ranks: found without --layout, expected who holds which token: ${LAYOUT_NAMES.join(", ")}`
        : "--layout: found without --ranks, expected the number of ranks",
    );
  }
  if (o.theirs === undefined && o.layout === undefined) {
    throw new InputError(
      `${o.shards === undefined ? "--partials" : "--shards"}: found without --layout and --ranks, expected who holds ` +
        "which token, and on how many ranks",
    );
  }
  const mask = maskOption(o);
  const scale = numberOption("--scale", o.scale);
  const tensors = await readTensors(o);
  if (tensors.doubt !== undefined) throw new InputError(tensors.doubt);
  const { q, k, v, sinks, heads, kvHeads, headDim, valueDim } = tensors;
  const sequences = sequencesFor(tensors, sequencesOption(o.sequences));
  const setting = o.layout === undefined ? undefined : new Setting(o.layout, ranks!, variant, sequences);
  const theirs = await theirPieces(o, { rows: tensors.queryRows, heads, valueDim }, setting, dims);
  const stored = [...tensors.stored, ...theirs.stored];
  const problem: Problem = {
    q,
    k,
    v,
    sinks,
    heads,
    kvHeads,
    headDim,
    valueDim,
    sequences,
    mask,
    scale,
    dtype: dtype ?? stored.reduce((a, b) => (ROUNDING[b] > ROUNDING[a] ? b : a)),
  };
  maskFrom(problem);
  const device = await attenders(io.platform, backend);
  const line = progressLine(io);
  try {
    const found = await compareResults({
      problem,
      pieces: theirs.pieces,
      setting,
      open: device.open,
      signal: io.signal,
      onProgress: (done, total) => line(`compared ${done} of ${total} parts`),
    });
    line("");
    const facts = { adapter: device.adapter, dtype: problem.dtype };
    io.stdout(o.json ? `${JSON.stringify({ ...found, ...facts }, jsonNumber, 2)}\n` : comparisonText(found, facts));
    return found.ok ? 0 : 1;
  } finally {
    line("");
    await device.close();
  }
};

/** JSON has no NaN and no infinity: they are written as texts. */
function jsonNumber(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
