/** `ringside vectors`: writes golden vectors for the tests of other projects. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { InputError } from "../errors.ts";
import { sayMask } from "../layout/mask.ts";
import { VECTORS, VECTORS_VERSION, vectorTensors } from "../reference/compare/vectors.ts";
import { didYouMean } from "../options.ts";
import { writeSafetensors } from "../tensor/safetensors.ts";
import { OPTION, optionLines } from "./help.ts";
import { type Command, writeOutputs } from "./io.ts";
import { parseOptions } from "./options.ts";

const HELP = `ringside vectors: writes golden vectors: inputs, results, and the partials of every rank and hop

  ringside vectors --out DIR [--case NAME]

${
  optionLines(
    ["--out DIR", "the folder to write, created if needed: one .safetensors file for each case, and manifest.json"],
    ["--case NAME", "write only this case"],
    ["--list", "print the cases and what each is for"],
    OPTION.runtime,
  )
}

Each case is one file. Its inputs are q [T, H, D], k and v [T+P, Hkv, D], positions [T], and sinks
[H] if the case has sinks. Its results are o [T, H, D] and lse [T, H].
Partial results are named by rank and hop: rank0.hop0.o and rank0.hop0.lse. Each covers its hop
alone, without sinks. In pass-KV its rows are the rank's own; in pass-Q they are those of rank
(rank - hop) mod N. rank0.rows lists the rows of q in the order of the rank's shard, -1 for padding.
The numbers never change.

Exit status: 0 done, 2 bad input or usage.
`;

/** The command. */
export const vectors: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    out: { type: "string" },
    case: { type: "string" },
    list: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  if (o.list) {
    io.stdout(VECTORS.map(({ name, what }) => `${name.padEnd(28)}${what}\n`).join(""));
    return 0;
  }
  if (o.out === undefined) throw new InputError("--out: not given, expected a folder for the vectors");
  const names = VECTORS.map(({ name }) => name);
  if (o.case !== undefined && !names.includes(o.case)) {
    throw new InputError(
      `--case: found ${JSON.stringify(o.case)}, expected one of --list${didYouMean(o.case, names, (near) => near)}`,
    );
  }
  await mkdir(o.out, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(`--out ${o.out}: cannot be made (${error.code ?? error.message}), expected a folder`);
  });
  const files: [string, Uint8Array | string][] = [];
  const cases = [];
  for (const one of VECTORS) {
    if (o.case !== undefined && one.name !== o.case) continue;
    await new Promise((resolve) => setTimeout(resolve));
    io.signal.throwIfAborted();
    const tensors = vectorTensors(one);
    files.push([path.join(o.out, `${one.name}.safetensors`), writeSafetensors(tensors)]);
    cases.push({
      ...one,
      file: `${one.name}.safetensors`,
      mask: sayMask(one.mask),
      scale: 1 / Math.sqrt(one.headDim),
      tensors: Object.fromEntries(Object.entries(tensors).map(([name, { shape, dtype }]) => [name, { shape, dtype }])),
    });
  }
  const manifest = { version: VECTORS_VERSION, lse: "natural logarithm; -inf where a row sees no key", cases };
  files.push([path.join(o.out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`]);
  await writeOutputs(files);
  const bytes = files.reduce((sum, [, data]) => sum + data.length, 0);
  io.stdout(`${cases.length} cases, ${(bytes / 1e6).toFixed(2)} MB in ${o.out}\n`);
  return 0;
};
